"""A restore drill: back up under load, destroy all, restore elsewhere, compare every figure."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.warehouse import names
from scripts import warehouse
from tests import recorded
from tests.conftest import Stack, until
from tests.faults.test_killed_often import RECORDS, Sender

pytestmark = pytest.mark.stack

RESTORED = (*names.OWN_EVENTS, names.SESSION_LABELS)
VIEWS = (
    "labels",
    "labelled_events",
    "sessions",
    "users",
    "member_daily",
    "daily_metrics",
    *names.SUMMARIES,
)
ROW = "sipHash64(formatRow('RowBinary', *))"


def rows(stack: Stack, table: str) -> set[int]:
    """A hash of all bytes of each row."""
    found = stack.admin(f"SELECT {ROW} FROM {names.DATABASE}.{table}")
    return {int(hashed) for (hashed,) in found}


def figures(stack: Stack) -> dict[str, Any]:
    """All that people can ask, and every row that it is asked of."""
    client = warehouse.as_admin(stack.settings, stack.home.secrets())
    warehouse.refresh(client)
    found: dict[str, Any] = {table: rows(stack, table) for table in RESTORED}
    for view in VIEWS:
        # States of quantiles are for merging; what they are made of is compared with the rest.
        columns = client.query(
            "SELECT name FROM system.columns WHERE database = {db:String} AND table = {t:String} "
            "AND type NOT LIKE 'AggregateFunction%' AND name NOT IN ('version', 'written_at')",
            parameters={"db": names.DATABASE, "t": view},
        ).result_rows
        shown = ", ".join(f"`{name}`" for (name,) in columns)
        read = client.query(f"SELECT {shown} FROM {names.DATABASE}.{view}")
        found[view] = sorted(map(repr, read.result_rows))
    found["metrics"] = client.query(
        "SELECT metric, member, count(), sum(toDecimal128(value, 9)) "
        f"FROM {names.DATABASE}.metric_points GROUP BY ALL ORDER BY ALL"
    ).result_rows
    client.close_connections()
    return found


def filled(stack: Stack) -> None:
    """Recorded days, texts, a label, and a day whose events are long gone."""
    kept = ("logs", "metrics")
    for version, ago in (("2.1.330", 0), ("2.1.281", 3), ("2.1.42", 20)):
        found = [each for each in recorded.requests(version=version) if each.signal in kept]
        stack.send(recorded.shifted(found, ago * 86400))
    [(session,)] = stack.member("SELECT any(session_id) FROM telemetry_events WHERE cost_usd > 0")
    stack.ok("label", session, "--chapter", "ch42")
    client = warehouse.as_admin(stack.settings, stack.home.secrets())
    warehouse.refresh(client)
    client.command(
        f"INSERT INTO {names.DATABASE}.daily_metrics_kept "
        "SELECT * REPLACE (today() - 400 AS day) FROM (SELECT * FROM "
        f"{names.DATABASE}.daily_metrics_kept WHERE day = today() LIMIT 1)"
    )
    client.close_connections()


@contextmanager
def load(stack: Stack) -> Iterator[list[str]]:
    """Events keep arriving; the sessions that were acknowledged."""
    done = threading.Event()
    sender = Sender(stack, done)
    sender.start()
    until(lambda: len(sender.acknowledged) > 20)
    yield sender.acknowledged
    done.set()
    sender.join(60)
    assert not sender.is_alive()


def elsewhere(folder: Path) -> Stack:
    """Another machine: no state folder yet."""
    made = Stack(folder)
    shutil.rmtree(made.home.path)
    return made


def test_everything_comes_back_on_an_empty_machine(own_stack: Stack, tmp_path: Path) -> None:
    place, key = str(tmp_path / "place"), tmp_path / "key"
    own_stack.change(content="full")
    own_stack.ok("up")
    filled(own_stack)
    with load(own_stack) as acknowledged:
        before = rows(own_stack, names.EVENTS)
        own_stack.ok("backup", "--to", place, "--encrypt")
        since = rows(own_stack, names.EVENTS)
    assert since > before, "nothing arrived meanwhile"
    sent = len(acknowledged) * RECORDS
    arrived = "SELECT count() FROM telemetry_events WHERE session_id IN {ids:Array(String)}"
    until(lambda: own_stack.member(arrived, ids=acknowledged) == [(sent,)])
    second = json.loads(own_stack.ok("backup", "--to", place, "--encrypt", "--json"))
    assert 0 < second["written_rows"] < second["rows"], "days that had not changed were written"
    figures_then, identity = figures(own_stack), own_stack.home.secrets()
    assert all(figures_then.values()), "nothing to compare"
    gone = f"{datetime.now(UTC).date() - timedelta(days=400)!r}"
    assert any(gone in row for row in figures_then["daily_metrics"])
    key.write_text(own_stack.ok("backup", "--show-key"))
    [(lost,)] = own_stack.member("SELECT count() FROM telemetry_events")
    own_stack.ok("down")
    shutil.rmtree(own_stack.home.path)

    other = elsewhere(tmp_path / "other")
    try:
        report = json.loads(other.ok("restore", "--from", place, "--key", str(key), "--json"))
        assert figures(other) == figures_then
        assert other.home.secrets().member == identity.member
        assert other.home.secrets().pseudonym_key == identity.pseudonym_key
        assert other.home.secrets().admin_password != identity.admin_password
        assert other.settings.content == "full", "the settings came along"
        # How much is lost, and how long it took (RPO and RTO).
        [(newest, count)] = other.member("SELECT max(ts), count() FROM telemetry_events")
        assert report["newest_event"] == f"{newest:%Y-%m-%d %H:%M:%S}"
        assert count == lost
        assert report["restored_rows"] == second["rows"]
        assert 0 < report["seconds"] < 600
        assert 0 < report["hours_since"] < 1
        # Days are written down anew every ten minutes, and a new store has a report and an access
        # log of its own.
        assert report["more"] <= 3
        assert json.loads(other.ok("status", "--json"))["events"] == count

        asked = other.run("restore", "--from", place)
        assert asked.returncode == 2
        assert "--yes" in asked.stderr
        assert f"here: {count:,}" in asked.stderr
        again = json.loads(other.ok("restore", "--from", place, "--yes", "--json"))
        assert figures(other) == figures_then
        # Kept days have a newer version since the summaries were brought up to date.
        # The access log is one table without days, and has grown meanwhile.
        [(log,)] = other.admin(f"SELECT count() FROM telemetry.{names.ACCESS_LOG}")
        assert again["restored_rows"] < 100 + log
    finally:
        other.down()

    third = elsewhere(tmp_path / "third")
    try:
        listed = third.ok("restore", "--from", place, "--list", "--json")
        at = json.loads(listed)[0]
        third.ok("restore", "--from", place, "--key", str(key), "--as-of", at)
        found = rows(third, names.EVENTS)
        assert before <= found <= since, "what had been stored when it began, and nothing later"
        assert len(found) < lost
    finally:
        third.down()
