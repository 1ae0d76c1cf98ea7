"""`telemetry down`: stop everything; with --delete-data also forget everything."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from infra.settings import SettingsError, load
from infra.warehouse import names
from scripts import files, supervise, warehouse
from scripts.errors import Failure
from scripts.up import locked
from stacks import stores
from stacks.embedded.processes import Layout
from stacks.home import PROJECT, Home


@dataclass(frozen=True)
class Doomed:
    """A folder that a deletion would remove. Bytes."""

    path: Path
    what: str
    bytes: int


def down(home: Home) -> bool:
    """Stop both programs and supervisord; False where nothing ran."""
    if not home.path.exists():
        return False
    home.prepare()
    layout = Layout(home)
    with locked(home):
        supervisor = supervise.Supervisor(layout)
        ran = supervisor.alive()
        if ran:
            _note_rows(home)
            supervisor.stop()
        return bool(supervise.end_orphans(layout)) or ran


def _note_rows(home: Home) -> None:
    """How much the store holds, as long as it can be asked; a stop needs no settings otherwise."""
    from clickhouse_connect.driver.exceptions import Error

    with contextlib.suppress(SettingsError, Failure, Error):
        settings = load(PROJECT, home.path)
        if warehouse.answers(f"{warehouse.url(settings)}/ping"):
            tables = (names.EVENTS, names.METRIC_POINTS)
            client = warehouse.as_admin(settings, home.secrets())
            try:
                stores.note_rows(home, sum(warehouse.count(client, table) for table in tables))
            finally:
                client.close_connections()  # the server waits for open ones before it ends


def doomed(home: Home) -> list[Doomed]:
    """What `--delete-data` would delete: everything that holds telemetry, not the keys."""
    folders = (
        (home.data, "stored events and metrics"),
        (home.queue, "what waits for delivery, and records set aside"),
        (home.log, "logs of the programs"),
    )
    return [Doomed(path, what, _size(path)) for path, what in folders if path.exists()]


def delete(found: list[Doomed]) -> None:
    """Delete them. The stack must be down."""
    for each in found:
        shutil.rmtree(each.path)


def _size(folder: Path) -> int:
    return sum(found.st_size for _, found in files.below(folder))
