"""What depends on the number of events: shipped questions, bytes on disk, events a second.

Beside each shipped question stands the same one on the table that the collector's exporter makes by
itself, filled with the same events in the same run.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.client import Client

from benchmarks import rate, results, stock
from benchmarks.stack import Stack, running
from infra.warehouse import names
from scripts import queries, warehouse
from scripts.console import step

_GENERATOR = Path(__file__).parent / "generate.sql"
_PER_SESSION = 100
_CHUNK = 1_000_000
# A day less than events are kept by default.
_DAYS = 89
_ROUNDS, _ENOUGH_SECONDS = 5, 20
_SAFE_SECONDS = 120
"""For so long after its last event a day is asked of the events instead of the summaries."""
_MEMORY_MIB = 8000
_PATIENCE_SECONDS = 3600
"""ClickHouse says nothing while it merges a hundred million events."""
# Goals: milliseconds by events, times faster than stock, bytes an event, events a second and core.
_MS = {10_000_000: 50, 100_000_000: 250}
_TIMES, _BYTES, _RATE = 20, 25, 12_500


@dataclass(frozen=True)
class Asked:
    """One question, as the server itself measured it."""

    ms: float
    rows: int
    mib: float

    def cells(self) -> tuple[str, str, str]:
        """For a table."""
        return f"{self.ms:.1f}", f"{self.rows:,}", f"{self.mib:.1f}"


@dataclass(frozen=True)
class Compared:
    """A shipped question: over all rows, over one member's, and on the stock table."""

    name: str
    everybody: Asked
    planning: Asked
    """The same by EXPLAIN: before anything is read but indexes and the summaries' times."""
    member: Asked
    stock: Asked | None

    @property
    def times(self) -> float | None:
        """How much faster than on the stock table."""
        return self.stock.ms / self.everybody.ms if self.stock else None


def generate(
    client: Client, member: str, *, first: int, sessions: int, begin: float, seconds: float
) -> None:
    """Sessions of a hundred events, straight into the landing table."""
    client.command(
        _GENERATOR.read_text(encoding="utf-8"),
        parameters={
            "first": first,
            "sessions": sessions,
            "begin": int(begin),
            "seconds": max(1, int(seconds)),
            "member": member,
        },
    )


def fill(client: Client, member: str, events: int, *, days: int, at_once: int) -> None:
    """So many events of the days before now, in the order of time."""
    sessions, size = events // _PER_SESSION, at_once // _PER_SESSION
    end = time.time() - 3600  # the last session ends before now
    begin = end - days * 86400
    each = (end - begin) / sessions
    with step(f"Filling {events:,} events") as shown:
        for first in range(0, sessions, size):
            shown.update(f"{first * _PER_SESSION:,}")
            part = min(size, sessions - first)
            generate(
                client,
                member,
                first=first,
                sessions=part,
                begin=begin + first * each,
                seconds=part * each,
            )


def _fill(client: Client, member: str, events: int) -> float:
    """Both tables; seconds that it took."""
    began = time.monotonic()
    with stock.fed(client):
        fill(client, member, events, days=_DAYS, at_once=_CHUNK)
    return time.monotonic() - began


def _optimize(client: Client) -> None:
    for table in (names.EVENTS, stock.TABLE):
        with step(f"Merging {table}"):
            client.command(f"OPTIMIZE TABLE {names.DATABASE}.{table} FINAL")


def _settle(client: Client) -> dict[str, float]:
    """Wait until the summaries have what was filled in; seconds that each took, all at once."""
    with step("Waiting for the summaries"):
        time.sleep(_SAFE_SECONDS + 5)
        warehouse.refresh(client)
    found = client.query(
        "SELECT view, last_success_duration_ms FROM system.view_refreshes "
        "WHERE view IN {v:Array(String)}",
        parameters={"v": list(names.SUMMARY_REFRESHES)},
    )
    return {view.removesuffix("_refresh"): ms / 1000 for view, ms in found.result_rows}


@contextmanager
def _quiet(client: Client) -> Iterator[None]:
    """No refresh meanwhile: what one costs is told apart."""
    views = (*names.SUMMARY_REFRESHES, names.DAILY_METRICS_KEEP)
    for view in views:
        client.command(f"SYSTEM STOP VIEW {names.DATABASE}.{view}")
    yield
    for view in views:
        client.command(f"SYSTEM START VIEW {names.DATABASE}.{view}")


def _ask(client: Client, sql: str, parameters: dict[str, str]) -> Asked:
    """The median of five after a warm-up; of fewer, where that takes long."""
    found = []
    began = time.monotonic()
    for number in range(_ROUNDS + 1):
        summary = client.query(
            sql,
            parameters=parameters,
            settings={
                "use_query_condition_cache": 0,
                "wait_end_of_query": 1,  # the summary comes in a header: after the last row
            },
        ).summary
        if number:
            found.append(int(summary["elapsed_ns"]) / 1e6)
            if time.monotonic() - began > _ENOUGH_SECONDS:
                break
    return Asked(
        statistics.median(found), int(summary["read_rows"]), int(summary["read_bytes"]) / 1024**2
    )


def _compare(stack: Stack, client: Client) -> list[Compared]:
    secrets = stack.home.secrets()
    member = warehouse.as_member(stack.settings, secrets)
    session = client.command(
        f"SELECT any(session_id) FROM {names.DATABASE}.{names.EVENTS} WHERE member = {{m:String}} "
        "AND toDate(ts) = today() - 20",
        parameters={"m": secrets.member},
    )
    found = []
    with step("Asking") as shown, _quiet(client):
        # As while people work: today's events are not in the summaries yet.
        generate(
            client, secrets.member, first=2**40, sessions=1, begin=time.time() - 1800, seconds=1
        )
        for query in queries.shipped().values():
            shown.update(query.name)
            given = {"session": str(session)} if query.name == "session-timeline" else {}
            arguments = query.arguments(given)
            plain = stock.question(query.name)
            found.append(
                Compared(
                    query.name,
                    _ask(client, query.sql, arguments),
                    _ask(client, f"EXPLAIN {query.sql}", arguments),
                    _ask(member, query.sql, arguments),
                    _ask(client, plain, arguments) if plain else None,
                )
            )
    member.close_connections()
    return found


def _on_disk(client: Client, table: str) -> float:
    """Bytes an event, all included."""
    found = client.command(
        "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts "
        "WHERE active AND database = {db:String} AND table = {t:String}",
        parameters={"db": names.DATABASE, "t": table},
    )
    return float(str(found))


def _columns(client: Client) -> list[tuple[str, str]]:
    """Bytes an event by column, those of a tenth of a byte and more; and what is no column."""
    given = {"db": names.DATABASE, "t": names.EVENTS}
    columns = client.query(
        "SELECT column, sum(column_bytes_on_disk) / sum(rows) AS size FROM system.parts_columns "
        "WHERE active AND database = {db:String} AND table = {t:String} "
        "GROUP BY column ORDER BY size DESC, column",
        parameters=given,
    ).result_rows
    [(indexes,)] = client.query(
        "SELECT sum(secondary_indices_compressed_bytes + secondary_indices_marks_bytes) "
        "/ sum(rows) FROM system.parts "
        "WHERE active AND database = {db:String} AND table = {t:String}",
        parameters=given,
    ).result_rows
    shown = [(f"`{name}`", size) for name, size in columns if size >= 0.1]
    little = [size for _, size in columns if size < 0.1]
    shown.append((f"{len(little)} others", sum(little)))
    shown.append(("indexes that skip", indexes))
    return [(name, f"{size:.2f}") for name, size in shown]


def _insert_rate(client: Client, stack: Stack) -> rate.Rate:
    """On an empty store, before it is filled; emptied again afterwards."""
    with step(f"Sending for {rate.SECONDS} s"):
        generate(
            client,
            stack.home.secrets().member,
            first=0,
            sessions=rate.SESSIONS,
            begin=time.time() - 86400,
            seconds=3600,
        )
        measured = rate.measure(stack, client)
    for table in (names.EVENTS, names.TOUCHED_DAYS):
        client.command(f"TRUNCATE TABLE {names.DATABASE}.{table}")
    return measured


def _verdict(well: bool) -> str:
    return "reached" if well else "**missed**"


def measure(events: int) -> None:
    """Measure and write."""
    with running(limits={"clickhouseMemoryMib": _MEMORY_MIB}) as stack:
        client = warehouse.as_admin(stack.settings, stack.home.secrets(), seconds=_PATIENCE_SECONDS)
        client.database = names.DATABASE
        inserted = _insert_rate(client, stack)
        stock.create(stack, client)
        filled = _fill(client, stack.home.secrets().member, events)
        _optimize(client)
        refreshed = _settle(client)
        compared = _compare(stack, client)
        size, plain_size = _on_disk(client, names.EVENTS), _on_disk(client, stock.TABLE)
        columns = _columns(client)
        client.close_connections()

    slowest = max(compared, key=lambda one: one.everybody.ms)
    ratios = [one.times for one in compared if one.times]
    times = math.exp(statistics.mean(map(math.log, ratios)))
    goal = _MS.get(events)
    cpu = ", ".join(
        f"{name} {seconds / inserted.events * 1e6:.0f}" for name, seconds in inserted.cpu.items()
    )
    results.write(
        f"Volume: {events / 1e6:g} M events",
        results.table(
            ("goal", "measured", "verdict"),
            [
                (
                    f"every shipped query within {goal} ms" if goal else "slowest shipped query",
                    f"{slowest.everybody.ms:.0f} ms ({slowest.name})",
                    _verdict(slowest.everybody.ms <= goal) if goal else "no goal at this size",
                ),
                (
                    f"{_TIMES} times as fast as on the stock table (geometric mean)",
                    f"{times:.0f} times",
                    _verdict(times >= _TIMES),
                ),
                (
                    f"{_BYTES} bytes an event on disk",
                    f"{size:.1f} (stock {plain_size:.1f})",
                    _verdict(size <= _BYTES),
                ),
                (
                    f"{_RATE:,} events a second and core, from the door to rows",
                    f"{inserted.per_core:,.0f}",
                    _verdict(inserted.per_core >= _RATE),
                ),
            ],
        ),
        f"Events are made by benchmarks/generate.sql, shaped after the recorded ones: {events:,} "
        f"of ten members over {_DAYS} days, {_PER_SESSION} a session, ids of real length. Filled "
        f"straight into the landing table (and the stock one) in {filled:.0f} s, then merged to "
        f"one part a partition (OPTIMIZE FINAL). ClickHouse may use {_MEMORY_MIB} MiB.",
        "### Questions",
        f"Milliseconds as the server measures them, the median of {_ROUNDS} after a warm-up (of "
        f"fewer where that takes over {_ENOUGH_SECONDS} s), without the cache of query conditions; "
        "rows and MiB read. *All*: as the administrator, who sees all rows; "
        "*plan*: how much of that EXPLAIN takes. *Own*: as a member, "
        "whose rows are a tenth. *Stock*: the same question of the table that the exporter makes "
        "by itself (benchmarks/stock/). Today's events were not in the summaries yet, as while "
        "people work.",
        results.table(
            (
                "query",
                "all ms",
                "rows",
                "MiB",
                "plan ms",
                "own ms",
                "stock ms",
                "rows",
                "MiB",
                "times",
            ),
            [
                (
                    one.name,
                    *one.everybody.cells(),
                    f"{one.planning.ms:.1f}",
                    f"{one.member.ms:.1f}",
                    *(one.stock.cells() if one.stock else ("none", "", "")),
                    f"{one.times:.0f}" if one.times else "",
                )
                for one in compared
            ],
        ),
        "No refresh ran meanwhile. One counts each summary anew from all events, all at once, in "
        "seconds: "
        + ", ".join(f"{name} {seconds:.1f}" for name, seconds in sorted(refreshed.items()))
        + ".",
        "### Bytes an event, by column",
        results.table(("column", "bytes"), columns),
        "### Events a second",
        f"Requests of {rate.RECORDS} recorded events (protobuf, {inserted.bytes} bytes an event) "
        f"over {rate.CONNECTIONS} connections for {rate.SECONDS} s, into the empty stack as it is "
        "shipped: all rules, the queue on disk, the landing table, the summaries. "
        f"{inserted.events:,} events were rows after {inserted.seconds:.0f} s "
        f"({inserted.events / inserted.seconds:,.0f} a second; the sender shares the cores); "
        f"{inserted.refused} requests were answered 503 and sent again. CPU in microseconds an "
        f"event: {cpu}.",
    )
