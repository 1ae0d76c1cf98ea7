"""Two ways of running, a store each: whether the other one runs or holds rows.

Rows would be divided between the two without anyone noticing, so neither starts beside the other
unless the member says so (`stores.keepBoth`). What is known of the plain processes stands in the
state folder; of the containers only the names of their stacks do, and the engine knows the rest.
"""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path

from infra.settings import Settings
from stacks.embedded.processes import Layout
from stacks.home import Home, write_private

KEEP = (
    "To keep both, each with its own rows, put `stores: {keepBoth: true}` into settings.yaml of "
    "the state folder."
)


def note_rows(home: Home, rows: int) -> None:
    """For the plain processes, when they stop: how many rows their store holds."""
    write_private(_rows(home), f"{rows}\n")


def forget_rows(home: Home) -> None:
    """For the plain processes, when they start: the number is about to change."""
    _rows(home).unlink(missing_ok=True)


def note_containers(home: Home, stack: str) -> None:
    """For a Pulumi stack: it makes containers whose volumes hold rows."""
    _write(home, {*stacks(home), stack})


def forget_containers(home: Home, stack: str) -> None:
    """Its volumes are gone."""
    _write(home, set(stacks(home)) - {stack})


def _write(home: Home, names: set[str]) -> None:
    write_private(home.containers, "".join(f"{name}\n" for name in sorted(names)))


def stacks(home: Home) -> list[str]:
    """Pulumi stacks that made containers from this folder."""
    if not home.containers.exists():
        return []
    return sorted(home.containers.read_text(encoding="utf-8").split())


def volume(stack: str) -> str:
    """The volume with the rows of a Pulumi stack, as the engine calls it."""
    return f"telemetry-{stack}-clickhouse-data"


def queue_volume(stack: str) -> str:
    """The volume with the collector's queue, and what the collector set aside."""
    return f"telemetry-{stack}-collector-queue"


def beside_plain_processes(settings: Settings, home: Home) -> str:
    """Why containers must not start beside the plain processes of `make up`; empty: they may."""
    if _runs(home):
        return (
            "The plain processes of `make up` are running and hold the ports. Stop them first with "
            "`telemetry down`; their data stays where it is."
        )
    if settings.stores.keep_both or not Layout(home).clickhouse_data.exists():
        return ""
    rows = _rows(home).read_text(encoding="utf-8").strip() if _rows(home).exists() else ""
    if rows == "0":
        return ""
    return (
        f"The plain processes of `make up` left {rows or 'what may be'} rows in {home.data}, and "
        f"containers would begin with an empty store beside it. {KEEP} To delete those rows: "
        "`telemetry down --delete-data`."
    )


def _rows(home: Home) -> Path:
    return home.data / "rows-at-stop"


def _runs(home: Home) -> bool:
    """Whether a supervisord listens for this state folder."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(Layout(home).socket(Path(tempfile.gettempdir()))))
        except OSError:
            return False
    return True
