"""`telemetry pause` and `resume`: taking part is a choice, and takes effect at once.

While paused the collector does not run: its port is closed, which costs Claude Code nothing, and
nothing is received. What was stored before stays and can be asked.
"""

from __future__ import annotations

from datetime import UTC, datetime

from infra.settings import Settings
from scripts import engine, supervise, warehouse
from scripts.errors import Failure
from stacks.embedded.processes import Layout
from stacks.home import Home, write_private

_COLLECTORS = "^/?telemetry-local(-.*)?-collector$"
"""Names of the collector's containers, whatever comes after `local` in the stack's name."""


def _containers(host: str, action: str) -> bool:
    """Whether a container engine stopped or started a collector of ours."""
    try:
        found = engine.ask(host, "ps", "--all", "--quiet", "--filter", f"name={_COLLECTORS}")
        return bool(found) and bool(engine.ask(host, action, *found))
    except engine.EngineAbsentError:
        return False


def pause(settings: Settings, home: Home) -> bool:
    """Stop collecting; False where it was paused already."""
    home.prepare()
    before = home.paused.exists()
    write_private(home.paused, datetime.now(UTC).isoformat(timespec="seconds") + "\n")
    supervisor = supervise.Supervisor(Layout(home))
    if supervisor.alive():
        supervisor.halt("collector")
    _containers(settings.docker.host, "stop")
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
    if embedded or _containers(settings.docker.host, "start"):
        address = f"http://127.0.0.1:{settings.ports.health}/"
        if not warehouse.wait(address, 30):
            raise Failure(f"No longer paused, but the collector does not answer at {address}.")
    return True
