"""From a clone to a verified event; memory at rest; how soon an event is a row."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks import results, running, stack
from stacks.home import PROJECT

TITLE = "Start, memory, delivery"


def _from_clone(*, cold: bool) -> tuple[float, float]:
    """Seconds from a clean clone to a verified event, and of a second `make up`."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        environment = stack.environment(folder, cold=cold, settings={})
        began = time.monotonic()
        clone = folder / "clone"
        subprocess.run(["git", "clone", "-q", str(PROJECT), str(clone)], check=True)
        stack.timed(["make", "up"], clone, environment)
        first = time.monotonic() - began
        again = stack.timed(["make", "up"], clone, environment)
        stack.timed(["make", "down"], clone, environment)
        return first, again


def measure(*, cold: bool) -> None:
    """Measure and write."""
    without_caches = f"{_from_clone(cold=True)[0]:.0f} s" if cold else "not measured"
    warm, again = _from_clone(cold=False)
    with stack.running() as one:
        memory = running.memory(one)
        delivery = running.delivery(one.settings, one.home)
    direct, readable = delivery["direct"], delivery["readable"]
    rows = [
        ("clean clone to a verified event, no caches", without_caches),
        ("clean clone to a verified event, warm caches", f"{warm:.1f} s"),
        ("`make up` again", f"{again:.1f} s"),
        *((f"memory at rest, {name}", f"{value:.0f} MiB") for name, value in memory.items()),
        *(
            (f"{what}, one event at a time, p50 / p99", f"{q.both(1)} ms")
            for what, q in (
                ("acknowledged (on disk in the queue)", delivery["acknowledged"]),
                ("from acknowledgement to readable row", readable),
                ("baseline: inserted straight into ClickHouse until readable", direct),
            )
        ),
        ("ratio to that baseline, p50", f"{readable.p50 / direct.p50:.1f}"),
    ]
    results.write(
        TITLE,
        results.table(("what", "measured"), rows),
        "The collector gathers events for up to 200 ms before it sends them on, which is most of "
        "the way from acknowledgement to row.",
    )
