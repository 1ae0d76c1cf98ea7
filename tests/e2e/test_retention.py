"""What is too old goes, is archived first where that is asked, and a weekly report tells of it."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.warehouse import names
from scripts import cleanup, parquet, warehouse
from tests import recorded
from tests.conftest import Stack

pytestmark = pytest.mark.stack

DAY_S = 86_400
OLD, SOON = 95, 85
"""Days ago; too old, and within a week of it."""


@pytest.fixture
def aged(own_stack: Stack) -> Stack:
    """A stack with recorded requests of today, of 85 days ago and of 95 days ago. The settings say
    90 days now, and ClickHouse does not know yet, as on a machine that slept."""
    own_stack.change(retention={"eventsDays": 120, "metricsDays": 120})
    own_stack.ok("up")
    found = [each for each in recorded.requests() if each.signal in ("logs", "metrics")]
    for number, age in enumerate((0, SOON, OLD)):
        own_stack.send(recorded.shifted(found[40 * number : 40 * number + 40], age * DAY_S))
    own_stack.change(retention={"eventsDays": 90, "metricsDays": 90})
    return own_stack


def ago(count: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=count)).isoformat()


def days(stack: Stack, table: str) -> dict[str, int]:
    """Rows of a table by day."""
    rows = stack.admin(
        f"SELECT toString(toDate(ts)), count() FROM {names.DATABASE}.{table} FINAL "
        "WHERE synthetic = '' GROUP BY 1 ORDER BY 1"
    )
    return {str(day): int(count) for day, count in rows}


def test_what_is_too_old_is_said_archived_and_deleted(aged: Stack, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    before = {table: days(aged, table) for table in (names.EVENTS, names.METRIC_POINTS)}
    old = {
        table: sum(rows for day, rows in found.items() if day < ago(90))
        for table, found in before.items()
    }
    assert old[names.EVENTS] > 0

    said = json.loads(aged.ok("cleanup", "--dry-run", "--json"))
    assert {each["where"]: each["rows"] for each in said["due"]} == {
        table: rows for table, rows in old.items() if rows
    }
    assert before == {table: days(aged, table) for table in before}

    asked = aged.run("cleanup", "--archive", str(archive))
    assert asked.returncode == 2, "nobody is there to ask"
    assert "--yes" in asked.stderr
    assert before == {table: days(aged, table) for table in before}

    done = json.loads(aged.ok("cleanup", "--archive", str(archive), "--yes", "--json"))
    assert done["deleted"]
    for table, found in before.items():
        kept = {day: rows for day, rows in found.items() if day >= ago(90)}
        assert days(aged, table) == kept
        due = {day: rows for day, rows in found.items() if day < ago(83)}
        assert {
            each.day: each.rows for each in cleanup.read_manifest(archive) if each.table == table
        } == due
    again = json.loads(aged.ok("cleanup", "--archive", str(archive), "--yes", "--json"))
    assert (again["due"], again["archived"]) == ([], [])

    # An archive is what was there, to the last byte of every column.
    client = warehouse.as_admin(aged.settings, aged.home.secrets())
    exact = "SELECT sum(sipHash64(formatRow('RowBinary', *))) FROM telemetry"
    soon = [each for each in cleanup.read_manifest(archive) if each.day >= ago(90)]
    assert {each.table for each in soon} >= {names.EVENTS}
    for table in {each.table for each in soon}:
        client.command(f"CREATE TABLE telemetry.copy_of_{table} AS telemetry.{table}")
        for each in (each for each in soon if each.table == table):
            file = archive / each.file
            assert parquet.sha256(file) == each.sha256
            assert file.stat().st_mode & 0o777 == 0o600
            parquet.insert(client, f"copy_of_{table}", file)
        where = "WHERE toDate(ts) < today() - 83"
        assert client.command(f"{exact}.copy_of_{table} FINAL") == client.command(
            f"{exact}.{table} FINAL {where}"
        )
        client.command(f"DROP TABLE telemetry.copy_of_{table}")
    client.close_connections()


def test_rows_that_come_after_a_day_was_archived_are_archived_beside_it(
    aged: Stack, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    aged.ok("cleanup", "--archive", str(archive), "--yes")
    first = cleanup.read_manifest(archive)
    found = list(recorded.requests("logs"))
    aged.send(recorded.shifted(found[-5:], SOON * DAY_S))
    aged.ok("cleanup", "--archive", str(archive), "--yes")
    second = cleanup.read_manifest(archive)
    assert second[: len(first)] == first
    [added] = second[len(first) :]
    assert added.file.endswith(f"{added.day}-2.parquet")
    assert added.rows == days(aged, names.EVENTS)[added.day]


def test_labels_and_files_that_are_too_old_go_too(own_stack: Stack) -> None:
    own_stack.ok("up")
    member = own_stack.home.secrets().member
    for session, labelled in (("old", 100), ("new", 1)):
        own_stack.admin(
            f"INSERT INTO telemetry.session_labels (member, session_id, chapter, labelled_at) "
            f"VALUES ('{member}', '{session}', 'ch01', now() - INTERVAL {labelled} DAY)"
        )
    aside, queue = own_stack.home.queue / "aside", own_stack.home.queue / "collector"
    files = {
        aside / "aside-2026-01-01T00-00-00.000.jsonl": 61,
        aside / "aside-2026-01-02T00-00-00.000.jsonl": 20,
        queue / "exporter_clickhouse__logs.20260101T000000Z.backup": 91,
        queue / "exporter_clickhouse__metrics.20260101T000000Z.backup": 89,
    }
    for file, age in files.items():
        file.write_text("{}\n")
        then = time.time() - age * DAY_S
        os.utime(file, (then, then))
    (aside / "aside.jsonl").write_text('{"resourceLogs": []}\n')
    said = own_stack.ok("cleanup", "--yes")
    assert "labels: 1 rows" in said
    assert own_stack.admin("SELECT session_id FROM telemetry.session_labels") == [("new",)]
    assert [file.exists() for file in files] == [False, True, False, True]
    assert (aside / "aside.jsonl").read_text(), "one was closed within the month"

    (aside / "aside-2026-01-02T00-00-00.000.jsonl").unlink()
    own_stack.ok("cleanup", "--yes")
    assert not (aside / "aside.jsonl").exists()
    [closed] = aside.glob("aside-*.jsonl")
    assert closed.read_text() == '{"resourceLogs": []}\n'
    assert own_stack.pid("collector"), "it was stopped for that moment alone"


def test_an_archive_in_the_clone_is_refused(own_stack: Stack) -> None:
    own_stack.ok("up")
    inside = Path(__file__).parent / "archive"
    done = own_stack.run("cleanup", "--archive", str(inside), "--yes")
    assert done.returncode == 1
    assert "lies in the clone" in done.stderr
    assert not inside.exists()


def sections(stack: Stack, *words: str) -> dict[str, Any]:
    found = json.loads(stack.ok("report", "retention", "--format", "json", *words))
    assert isinstance(found, dict)
    return found


def a_week_later(stack: Stack) -> None:
    """What was reported was so last week, and the database makes this week's report."""
    stack.admin(
        "INSERT INTO telemetry.retention_reports "
        "SELECT made_at - INTERVAL 7 DAY, class, day, rows, bytes, keep_days "
        "FROM telemetry.retention_reports WHERE made_at > now() - INTERVAL 6 DAY"
    )
    stack.admin(
        "ALTER TABLE telemetry.retention_reports DELETE WHERE made_at > now() - INTERVAL 6 DAY "
        "SETTINGS mutations_sync = 2"
    )
    report(stack)


def summarized(stack: Stack) -> None:
    client = warehouse.as_admin(stack.settings, stack.home.secrets())
    warehouse.refresh(client)
    client.close_connections()


def report(stack: Stack) -> None:
    for what in ("REFRESH", "WAIT"):
        stack.admin(f"SYSTEM {what} VIEW telemetry.retention_reports_keep")


def test_the_database_makes_a_report_a_week_and_it_tells_what_went(aged: Stack) -> None:
    # Made when the schema was, when nothing was held yet.
    assert sections(aged)["sections"]["classes"] == []
    report(aged)
    count = "SELECT uniqExact(made_at) FROM telemetry.retention_reports"
    assert aged.admin(count) == [(1,)], "one a week"

    summarized(aged)
    a_week_later(aged)
    held = {each["class"]: each for each in sections(aged)["sections"]["classes"]}
    events = days(aged, names.EVENTS)
    assert held["events"]["rows"] == sum(events.values())
    assert held["events"]["oldest_day"] == min(events)
    assert (held["events"]["keep_days"], held["events"]["overdue_rows"]) == (120, 0)
    assert held["events"]["bytes"] > 0
    assert held["days of the team"]["keep_days"] is None
    ages = {each["class"]: each for each in sections(aged)["sections"]["ages"]}
    assert ages["events"]["up_to_7"] == sum(rows for day, rows in events.items() if day > ago(8))
    assert ages["events"]["up_to_365"] == events.get(ago(OLD), 0) + events.get(ago(OLD + 1), 0)

    # The database learns of 90 days, and does not delete yet.
    aged.admin(
        "CREATE OR REPLACE VIEW telemetry.retention AS "
        "SELECT 90 AS events_days, 90 AS metrics_days, 14 AS content_days"
    )
    a_week_later(aged)
    old = sum(rows for day, rows in events.items() if day < ago(90))
    held = {each["class"]: each for each in sections(aged)["sections"]["classes"]}
    assert (held["events"]["keep_days"], held["events"]["overdue_rows"]) == (90, old)
    assert any("`telemetry cleanup` deletes them" in note for note in sections(aged)["notes"])

    aged.ok("cleanup", "--yes")
    a_week_later(aged)
    found = sections(aged)
    held = {each["class"]: each for each in found["sections"]["classes"]}
    assert (held["events"]["overdue_rows"], held["events"]["gone_rows"]) == (0, old)
    deleted = {each["class"]: each["rows"] for each in found["sections"]["deletions"]}
    assert deleted["events"] == old
    assert found["notes"] == []

    page = aged.ok("report", "retention", "--format", "html")
    assert "<title>Telemetry report, retention 20" in page
    assert "days of the team" in page
    assert aged.ok("report", "retention").startswith("# Telemetry report, retention 20")
    assert sections(aged, "--day", "2020-01-01")["has_data"] is False


def test_changing_the_retention_changes_tables_that_are_there(aged: Stack) -> None:
    aged.change(retention={"eventsDays": 90, "metricsDays": 100})
    aged.ok("up")
    rows = aged.admin(
        "SELECT name, create_table_query FROM system.tables WHERE database = 'telemetry'"
    )
    found = {row[0]: row[1] for row in rows}
    assert "toIntervalDay(90)" in found[names.EVENTS]
    assert "toIntervalDay(100)" in found[names.METRIC_POINTS]
    # ClickHouse drops them by itself when a table gets another time to live.
    assert min(days(aged, names.EVENTS)) >= ago(91)
