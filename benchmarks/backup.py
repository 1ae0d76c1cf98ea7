"""How long a backup and a restore take, how large it gets, and what ClickHouse needs for it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from clickhouse_connect.driver.client import Client

from benchmarks import results
from benchmarks.stack import Stack, running
from benchmarks.volume import fill
from infra.warehouse import names
from scripts import backup, restore, warehouse

_EVENTS, _DAYS = 10_000_000, 4
_AT_ONCE = 100_000
"""More in one statement need more memory than the default limits give."""
_PATIENCE_SECONDS = 3600
_EXACT = "count(), sum(sipHash64(formatRow('RowBinary', *)))"


def _client(stack: Stack) -> Client:
    return warehouse.as_admin(stack.settings, stack.home.secrets(), seconds=_PATIENCE_SECONDS)


def _stored(client: Client) -> tuple[int, int]:
    [(rows, hashed)] = client.query(
        f"SELECT {_EXACT} FROM {names.DATABASE}.{names.EVENTS} WHERE synthetic = ''"
    ).result_rows
    return int(rows), int(hashed)


def _most_memory(client: Client) -> float:
    """MiB of the dearest statement that moved Parquet."""
    client.command("SYSTEM FLUSH LOGS")
    found = client.command(
        "SELECT max(memory_usage) / 1024 / 1024 FROM system.query_log "
        "WHERE type = 'QueryFinish' AND query LIKE '%FORMAT Parquet%'"
    )
    return float(str(found))


def measure() -> None:
    """Measure and write. Raises AssertionError where a row is not what it was."""
    with tempfile.TemporaryDirectory() as name:
        to = str(Path(name) / "backups")
        with running() as stack:
            client = _client(stack)
            member = stack.home.secrets().member
            fill(client, member, _EVENTS, days=_DAYS, at_once=_AT_ONCE)
            before = _stored(client)
            first = backup.backup(stack.settings, stack.home, to, encrypt=True)
            again = backup.backup(stack.settings, stack.home, to, encrypt=True)
            writing = _most_memory(client)
            key = Path(name) / "key"
            key.write_text(backup.key_of(stack.home).text)
            client.close_connections()
        with running() as stack:
            with restore.planned(stack.settings, stack.home, to, None, key) as plan:
                began = time.monotonic()
                restore.restore(plan)
                restored = time.monotonic() - began
            client = _client(stack)
            after = _stored(client)
            reading = _most_memory(client)
            client.close_connections()
    assert after == before, f"{after} instead of {before}"
    results.write(
        "Backup and restore",
        f"{before[0]:,} events of {_DAYS} days, made by benchmarks/generate.sql, with the default "
        "limits; encrypted, into a folder. The restore is into another, empty store, and ends with "
        "every row compared and the summaries made anew. *Memory* is that of the dearest statement "
        "in ClickHouse.",
        results.table(
            ("", "seconds", "rows a second", "memory MiB"),
            [
                ("first backup", f"{first.seconds:.0f}", f"{first.rows / first.seconds:,.0f}", ""),
                ("backup with nothing changed", f"{again.seconds:.0f}", "", f"{writing:.0f}"),
                (
                    "restore",
                    f"{restored:.0f}",
                    f"{before[0] / restored:,.0f}",
                    f"{reading:.0f}",
                ),
            ],
        ),
        f"The backup takes {first.bytes / before[0]:.1f} bytes an event.",
    )
