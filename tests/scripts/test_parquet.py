"""Rows as Parquet files and back, with the real ClickHouse: equal, whole, within its memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from infra.warehouse import names
from scripts import parquet, warehouse
from scripts.errors import Failure
from tests import recorded
from tests.conftest import Stack

pytestmark = pytest.mark.stack

TABLES = (*names.OWN_EVENTS, names.SESSION_LABELS, "daily_metrics_kept")
COPY = "parquet_copy"
EXACT = "count(), sum(sipHash64(formatRow('RowBinary', *)))"
"""Of all bytes of all columns: what differs anywhere differs here."""

EDGES = """
    toDecimal64('-999999999.999999999', 9) AS decimal, toDecimal64('0.000000001', 9)::Nullable(Decimal(18, 9)) AS small,
    NULL::Nullable(Decimal(18, 9)) AS nothing, NULL::Nullable(Bool) AS unknown, true::Nullable(Bool) AS yes,
    18446744073709551615::UInt64 AS most, 18446744073709551615::Nullable(UInt64) AS most_or_null,
    4294967295::Nullable(UInt32) AS u32, nan AS not_a_number, -inf AS infinite, -0. AS minus_zero, 5e-324 AS least,
    toDateTime64('1970-01-01 00:00:00.001', 3, 'UTC') AS first_ms, toDateTime64('2299-12-31 23:59:59.999', 3, 'UTC') AS last_ms,
    toDateTime('2106-02-07 06:28:15', 'UTC') AS last_s, toDate('2149-06-06') AS last_day, toDateTime64('2026-01-02 03:04:05.678', 3) AS no_zone,
    'gauge'::Enum8('unspecified' = 0, 'delta' = 1, 'gauge' = 3) AS kind, 'a'::LowCardinality(String) AS word,
    unhex('00ff80c328') AS no_utf8, '' AS empty, 'tab\\tquote\\'"\\n' AS odd, 'é漢😀' AS letters,
    map('b', '', 'a', '😀')::Map(LowCardinality(String), String) AS pairs, map()::Map(LowCardinality(String), String) AS no_pairs,
    ['x', '', 'x']::Array(LowCardinality(String)) AS list, []::Array(LowCardinality(String)) AS no_list
"""  # noqa: E501


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Of its own: rows are made up in it."""
    made = Stack(tmp_path_factory.mktemp("parquet"))
    made.ok("up")
    yield made
    made.down()


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    made = warehouse.as_admin(stack.settings, stack.home.secrets())
    yield made
    made.command(f"DROP TABLE IF EXISTS {names.DATABASE}.{COPY}")
    made.command(f"DROP TABLE IF EXISTS {names.DATABASE}.{COPY}_of")
    made.close_connections()


def exact(client: Client, table: str) -> list[tuple[int, int]]:
    found = client.query(f"SELECT {EXACT} FROM {names.DATABASE}.{table}")
    return [(int(rows), int(hashed)) for rows, hashed in found.result_rows]


def copied(client: Client, table: str, folder: Path) -> list[parquet.Written]:
    """Through files into a table of its own."""
    client.command(
        f"CREATE OR REPLACE TABLE {names.DATABASE}.{COPY} AS {names.DATABASE}.{table} "
        "ENGINE = MergeTree ORDER BY tuple() PRIMARY KEY tuple()"
    )
    written = []
    for number, select in enumerate(parquet.selects(client, table, "true")):
        file = folder / f"{number}.parquet"
        written.append(parquet.export(client, select, file))
        parquet.insert(client, COPY, file)
    return written


def filled(stack: Stack, client: Client) -> None:
    """Recorded events and points, texts, labels and kept days."""
    if client.command(f"SELECT count() FROM {names.DATABASE}.{names.CONTENT}"):
        return
    kept = ("logs", "metrics")
    requests = [each for each in recorded.requests(version="2.1.330") if each.signal in kept]
    stack.send(recorded.shifted(requests))
    client.command(
        f"INSERT INTO {names.DATABASE}.{names.CONTENT} SELECT ts, event, 'prompt' AS kind, "
        "session_id, prompt_id, seq, record_hash, member, tool_name, tool_use_id, "
        "repeat(event, 50) AS content, synthetic, stored_at "
        f"FROM {names.DATABASE}.{names.EVENTS}"
    )
    client.command(
        f"INSERT INTO {names.DATABASE}.{names.SESSION_LABELS} (member, session_id, chapter) "
        f"SELECT DISTINCT member, session_id, 'ch07' FROM {names.DATABASE}.{names.EVENTS}"
    )
    warehouse.refresh(client)


@pytest.mark.parametrize("table", TABLES)
def test_recorded_rows_come_back_equal_in_every_column(
    stack: Stack, client: Client, tmp_path: Path, table: str
) -> None:
    filled(stack, client)
    [written] = copied(client, table, tmp_path)
    file = tmp_path / "0.parquet"
    assert written.rows > 0
    assert exact(client, COPY) == exact(client, table)
    assert written.rows == exact(client, table)[0][0]
    assert (written.bytes, written.sha256) == (
        file.stat().st_size,
        hashlib.sha256(file.read_bytes()).hexdigest(),
    )
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_ends_of_every_type_come_back_equal(client: Client, tmp_path: Path) -> None:
    client.command(
        f"CREATE OR REPLACE TABLE {names.DATABASE}.{COPY}_of ENGINE = MergeTree ORDER BY tuple() "
        f"AS SELECT {EDGES}"
    )
    copied(client, f"{COPY}_of", tmp_path)
    assert exact(client, COPY) == exact(client, f"{COPY}_of")


def test_many_rows_come_back_equal_from_many_files(
    stack: Stack, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(stack, client)
    monkeypatch.setattr(parquet, "_FILE_BYTES", 100_000)
    written = copied(client, names.EVENTS, tmp_path)
    assert len(written) > 3
    whole = sum(each.rows for each in written)
    assert max(each.rows for each in written) < whole / 2
    assert exact(client, COPY) == exact(client, names.EVENTS)


def test_no_rows_are_a_file_too(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "none.parquet"
    select = f"SELECT * FROM {names.DATABASE}.{names.EVENTS} WHERE member = {{m:String}}"
    assert parquet.export(client, select, file, {"m": "nobody"}).rows == 0
    before = exact(client, names.EVENTS)
    parquet.insert(client, names.EVENTS, file)
    assert exact(client, names.EVENTS) == before


def test_columns_are_told_apart_by_name(client: Client, tmp_path: Path) -> None:
    """A table may have got a column since, or have them in another order."""
    file = tmp_path / "old.parquet"
    parquet.export(client, "SELECT 7::UInt64 AS b, map('k', 'v') AS m, 'x' AS a", file)
    client.command(
        f"CREATE OR REPLACE TABLE {names.DATABASE}.{COPY} (a String, b UInt64, "
        "m Map(String, String), c String DEFAULT 'since') ENGINE = MergeTree ORDER BY tuple()"
    )
    parquet.insert(client, COPY, file)
    found = client.query(f"SELECT a, b, m, c FROM {names.DATABASE}.{COPY}").result_rows
    assert found == [("x", 7, {"k": "v"}, "since")]


def test_a_query_that_fails_on_its_way_leaves_no_file(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"what was there")
    select = "SELECT number, throwIf(number = 3000000) AS t FROM numbers(4000000)"
    with pytest.raises(Failure, match="did not give all rows"):
        parquet.export(client, select, file)
    assert [each.name for each in tmp_path.iterdir()] == ["rows.parquet"]
    assert file.read_bytes() == b"what was there"


def test_a_file_that_is_not_whole_is_refused(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    parquet.export(client, "SELECT number FROM numbers(1000)", file)
    whole, before = file.read_bytes(), exact(client, names.EVENTS)
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", b"PAR1"):
        file.write_bytes(damaged)
        with pytest.raises(Failure, match="does not take"):
            parquet.insert(client, names.EVENTS, file)
    assert exact(client, names.EVENTS) == before


def test_many_wide_rows_take_little_of_clickhouse(
    stack: Stack, client: Client, tmp_path: Path
) -> None:
    """Of 1,300 MiB. With its own defaults ClickHouse takes more, and cannot take a million."""
    filled(stack, client)
    client.command(
        f"CREATE OR REPLACE TABLE {names.DATABASE}.{COPY}_of AS {names.DATABASE}.{names.EVENTS}"
    )
    client.command(
        f"INSERT INTO {names.DATABASE}.{COPY}_of SELECT * EXCEPT n REPLACE (ts + n AS ts) "
        f"FROM (SELECT *, arrayJoin(range(5000)) AS n FROM {names.DATABASE}.{names.EVENTS}) "
        "LIMIT 200000",
        settings={"max_threads": 1, "min_insert_block_size_bytes": 8 * 1024**2},
    )
    assert sum(each.rows for each in copied(client, f"{COPY}_of", tmp_path)) == 200_000
    assert exact(client, COPY) == exact(client, f"{COPY}_of")
    client.command("SYSTEM FLUSH LOGS")
    found = client.query(
        "SELECT max(memory_usage) / 1024 / 1024 FROM system.query_log "
        "WHERE type = 'QueryFinish' AND query LIKE '%parquet_copy%FORMAT Parquet%'"
    ).result_rows
    assert 10 < found[0][0] < 250
