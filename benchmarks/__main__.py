"""`make bench`: measure on this machine and write benchmarks/RESULTS.md.

`--cold` also measures a clean clone without any cache, which downloads everything once more.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks import machine, running
from infra.settings import load
from scripts.console import say
from stacks.home import PROJECT, Home
from tests.conftest import PORTS, free_ports

RESULTS = PROJECT / "benchmarks" / "RESULTS.md"
_CACHES = {
    "GOCACHE": ["go", "env", "GOCACHE"],
    "GOMODCACHE": ["go", "env", "GOMODCACHE"],
    "npm_config_cache": ["npm", "config", "get", "cache"],
    "PIP_CACHE_DIR": [sys.executable, "-m", "pip", "cache", "dir"],
}
"""Variable that names a cache, and who tells where this machine has it."""


def _timed(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    say(f"$ {' '.join(command)}")
    began = time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return time.monotonic() - began


def _clone(folder: Path) -> Path:
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(PROJECT), str(clone)], check=True)
    return clone


def _environment(folder: Path, *, cold: bool) -> dict[str, str]:
    """A member's environment with a state folder and ports of its own."""
    state = folder / "state"
    state.mkdir()
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    (state / "settings.yaml").write_text(yaml.safe_dump({"ports": ports}))
    caches = {
        name: str(folder / name)
        if cold
        else subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        for name, asked in _CACHES.items()
    }
    # Go keeps a module cache read-only, and then nobody could remove the folder.
    flags = {"GOFLAGS": "-modcacherw"} if cold else {}
    home = {"HOME": str(folder), "TELEMETRY_HOME": str(state)}
    return {**os.environ, **caches, **flags, **home}


def _from_clone(*, cold: bool) -> tuple[float, float]:
    """Seconds from a clean clone to a verified event, and of a second `make up`."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        environment = _environment(folder, cold=cold)
        began = time.monotonic()
        clone = _clone(folder)
        _timed(["make", "up"], clone, environment)
        first = time.monotonic() - began
        again = _timed(["make", "up"], clone, environment)
        _timed(["make", "down"], clone, environment)
        return first, again


def main() -> None:
    """Measure and write."""
    cold = _from_clone(cold=True)[0] if "--cold" in sys.argv[1:] else None
    warm, again = _from_clone(cold=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = _environment(folder, cold=False)
        home = Home(Path(environment["TELEMETRY_HOME"]))
        command = str(PROJECT / ".venv" / "bin" / "telemetry")
        _timed([command, "up"], PROJECT, environment)
        settings = load(PROJECT, home.path)
        memory = running.memory(home)
        delivery = running.delivery(settings, home)
        _timed([command, "down"], PROJECT, environment)
    direct, readable = delivery["direct"], delivery["readable"]
    rows = [
        ("clean clone to a verified event, no caches", f"{cold:.0f} s" if cold else "not measured"),
        ("clean clone to a verified event, warm caches", f"{warm:.1f} s"),
        ("`make up` again", f"{again:.1f} s"),
        *((f"memory at rest, {name}", f"{value:.0f} MiB") for name, value in memory.items()),
        *(
            (f"{what}, one event at a time, p50 / p99", f"{q.p50:.1f} / {q.p99:.1f} ms")
            for what, q in (
                ("acknowledged (on disk in the queue)", delivery["acknowledged"]),
                ("from acknowledgement to readable row", readable),
                ("baseline: inserted straight into ClickHouse until readable", direct),
            )
        ),
        ("ratio to that baseline, p50", f"{readable.p50 / direct.p50:.1f}"),
    ]
    lines = "\n".join(f"| {what} | {value} |" for what, value in rows)
    RESULTS.write_text(
        f"# Results\n\nWritten by `make bench`. Timings vary between machines and runs; compare "
        f"ratios.\n\n{machine.description()}\n\n| what | measured |\n|---|---|\n{lines}\n\n"
        "The collector gathers events for up to 200 ms before it sends them on, which is most of "
        "the way from acknowledgement to row.\n"
    )
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
