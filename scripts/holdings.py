"""`telemetry what-do-you-have --me`: all that is stored of the member who asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TextIO

from infra.settings import Settings
from infra.warehouse import names
from scripts import kept, warehouse
from stacks import copies
from stacks.embedded.processes import Layout
from stacks.home import Home

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_TABLES = (*names.OWN_EVENTS, *names.OWN_ROWS)
_EXAMPLES = 3


@dataclass(frozen=True)
class Table:
    """Rows of a table."""

    table: str
    rows: int
    first: str
    last: str
    """UTC; empty where rows have no time of their own."""
    kept_days: int | None
    """None: as long as the rows it is made from, or until it is deleted."""


@dataclass(frozen=True)
class Value:
    """What stands in a column of one's own events."""

    where: str
    distinct: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Holdings:
    """All of it."""

    member: str
    tables: tuple[Table, ...]
    values: tuple[Value, ...]
    files: tuple[tuple[str, int, str], ...]
    """Path, bytes, what it is."""
    copies: tuple[str, ...]
    """Backups and archives: where, and until when."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def holdings(settings: Settings, home: Home) -> Holdings:
    """Ask as the member, whose rows alone are shown."""
    secrets = home.secrets()
    client = warehouse.as_member(settings, secrets)
    try:
        return Holdings(
            member=secrets.member,
            tables=tuple(_tables(client, settings)),
            values=tuple(_values(client)),
            files=tuple(_files(settings, home)),
            copies=tuple(copies.lines(home)),
        )
    finally:
        client.close_connections()


def export(settings: Settings, home: Home, to: TextIO) -> int:
    """Every row, a line of JSON each, with its table; how many."""
    client = warehouse.as_member(settings, home.secrets())
    written = 0
    try:
        for table in _TABLES:
            with client.query_rows_stream(f"SELECT * FROM {table}") as rows:
                columns = rows.source.column_names
                for cells in rows:
                    row = {"table": table, "row": dict(zip(columns, cells, strict=True))}
                    to.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
                    written += 1
    finally:
        client.close_connections()
    return written


def _days_kept(settings: Settings) -> dict[str, int]:
    return {
        names.EVENTS: settings.retention.events_days,
        names.METRIC_POINTS: settings.retention.metrics_days,
        names.CONTENT: settings.retention.content_days,
    }


def _tables(client: Client, settings: Settings) -> Iterator[Table]:
    timed = {
        table
        for (table,) in client.query(
            "SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'ts'"
        ).result_rows
    }
    for table in _TABLES:
        shown = "toString(min(ts)), toString(max(ts))" if table in timed else "'', ''"
        [(rows, first, last)] = client.query(f"SELECT count(), {shown} FROM {table}").result_rows
        days = _days_kept(settings).get(table)
        yield Table(table, rows, first if rows else "", last if rows else "", days)


def _values(client: Client) -> Iterator[Value]:
    for table, source in warehouse.text_columns(client, names.OWN_EVENTS):
        found = client.query(
            f"SELECT place, uniqExact(value), groupUniqArray({_EXAMPLES})(left(value, 120)) "
            f"FROM ({source}) WHERE value != '' GROUP BY place ORDER BY place"
        )
        for place, distinct, examples in found.result_rows:
            yield Value(f"{table}.{place}", int(distinct), tuple(sorted(examples)))


def _files(settings: Settings, home: Home) -> Iterator[tuple[str, int, str]]:
    folder = kept.Folder(home)
    queue = (file for file in folder.listed(Layout(home).queue) if not file.damaged)
    beside = [file for place in kept.places(settings, home) for file in place.files()]
    for found, what in (
        (queue, "waits for ClickHouse"),
        ((file for file in beside if file.damaged), "damaged queue file"),
        ((file for file in beside if not file.damaged), "records set aside, sanitized"),
        (folder.listed(home.log), "logs of the programs, without payloads"),
    ):
        for file in found:
            yield file.shown, file.bytes, what
