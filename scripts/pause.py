"""`telemetry pause` and `resume`: taking part is a choice, and takes effect at once.

While paused the collector does not run: its port is closed, which costs Claude Code nothing, and
nothing is received. What was stored before stays and can be asked.
"""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime

from infra.settings import Settings
from scripts import supervise, warehouse
from scripts.errors import Failure
from stacks.embedded.processes import Layout
from stacks.home import Home, write_private

COLLECTOR_CONTAINER = "telemetry-local-collector"


def _docker(*words: str) -> bool:
    """Whether the container engine did it; False where there is none or no such container."""
    engine = shutil.which("docker") or shutil.which("podman")
    if engine is None:
        return False
    done = subprocess.run([engine, *words, COLLECTOR_CONTAINER], capture_output=True, timeout=60)
    return done.returncode == 0


def pause(home: Home) -> bool:
    """Stop collecting; False where it was paused already."""
    home.prepare()
    before = home.paused.exists()
    write_private(home.paused, datetime.now(UTC).isoformat(timespec="seconds") + "\n")
    supervisor = supervise.Supervisor(Layout(home))
    if supervisor.alive():
        supervisor.halt("collector")
    _docker("stop")
    return not before


def resume(settings: Settings, home: Home) -> bool:
    """Collect again; False where it was not paused. Raises Failure if the collector stays away."""
    if not home.paused.exists():
        return False
    home.paused.unlink()
    supervisor = supervise.Supervisor(Layout(home))
    embedded = supervisor.alive()
    if embedded:
        supervisor.run("collector")
    if embedded or _docker("start"):
        address = f"http://127.0.0.1:{settings.ports.health}/"
        if not warehouse.wait(address, 30):
            raise Failure(f"No longer paused, but the collector does not answer at {address}.")
    return True
