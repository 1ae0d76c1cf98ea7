"""The access audit: what it holds, that it holds it once, and what reads it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from infra.settings import Settings
from infra.warehouse import names
from scripts import report, report_text, toolchain, warehouse
from tests.conftest import Stack
from tests.shared import EDGE, Store, login

pytestmark = pytest.mark.stack

MEMBER, AUDITOR = login(1), login(21, "auditor")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    programs = toolchain.programs(Settings())
    made = Store(tmp_path_factory.mktemp("audited"), programs, [MEMBER, AUDITOR])
    made.start()
    yield made
    made.stop()


def audit(store: Store, columns: str, condition: str) -> list[list[str]]:
    """As the auditor reads it."""
    store.audit()
    return store.ask(
        AUDITOR.id, f"SELECT {columns} FROM {names.ACCESS_LOG} WHERE {condition} ORDER BY ts"
    ).rows


def test_a_query_is_kept_without_what_was_typed(store: Store) -> None:
    asked = "SELECT count() FROM telemetry_events WHERE error = 'what I typed' -- and why"
    assert store.ask(MEMBER.id, asked).code == 0
    columns = "address, interface, kind, tables, query, result_rows, result, error_code"
    assert audit(store, columns, f"user = '{MEMBER.id}' AND query LIKE '%error%'") == [
        [
            EDGE,
            "HTTP",
            "Select",
            "['telemetry.telemetry_events']",
            "SELECT count() FROM telemetry_events WHERE error = ?",
            "1",
            "ok",
            "0",
        ]
    ]


def test_nothing_is_kept_twice_and_nothing_lost_when_the_server_starts_again(store: Store) -> None:
    everything = f"SELECT count(), uniqExact(ts, id) FROM telemetry.{names.ACCESS_LOG}"
    for number in range(20):
        store.ask(MEMBER.id, f"SELECT {number} FROM numbers(1)")
    store.audit()
    store.audit()
    condition = f"user = '{MEMBER.id}' AND query = 'SELECT ? FROM numbers(?)'"
    assert len(audit(store, "ts", condition)) == 20
    [[rows, different]] = store.admin(f"{everything} SETTINGS final = 0")
    assert rows == different
    store.stop()
    store.start()
    assert len(audit(store, "ts", condition)) == 20


def test_it_goes_on_after_a_start_whatever_log_has_no_table_yet(store: Store) -> None:
    """The engine at hand keeps its logs in memory: first there is none."""
    store.stop()
    store.start()
    store.ask(MEMBER.id, "SELECT 'after' FROM numbers(2)")
    assert audit(store, "result", "query LIKE '%numbers%' AND result_rows = 2") == [["ok"]]
    failing = store.admin(
        "SELECT view, exception FROM system.view_refreshes "
        "WHERE view LIKE '%_keep' AND status != 'Scheduled'"
    )
    assert failing == []


def line(**changes: Any) -> str:
    """Of Caddy's access log."""
    told = {
        "level": "info",
        "ts": time.time(),
        "logger": "http.log.access.log0",
        "msg": "handled request",
        "request": {
            "remote_ip": "203.0.113.9",
            "method": "POST",
            "uri": "/query?password=typed&query=SELECT",
            "headers": {"X-Clickhouse-User": [MEMBER.id]},
        },
        "duration": 0.0123,
        "size": 5,
        "status": 403,
    }
    return json.dumps({**told, **changes})


def test_the_edges_log_is_read_whatever_stands_in_it(store: Store) -> None:
    """As the server finds it: in the folder that file() reads, here the one it was started in."""
    ingest = {"uri": "/v1/logs", "method": "POST", "remote_ip": "203.0.113.7"}
    lines = [
        line(),
        line(status=200),
        line(request=ingest, status=401, user_id=f"{MEMBER.id}.2+red"),
        line(request=ingest, status=200),
        line(request={"uri": "/" + "x" * 1000, "remote_ip": "203.0.113.8"}, status=404),
        line(request={"headers": {"X-Clickhouse-User": ["a password"]}}, status=403),
        "no JSON",
        '{"ts": "never", "logger": "http.log.access"}',
        line(ts=-5),
        line(ts=1e300),
        line(status=10**12, duration="long"),
        line(logger="tls"),
    ]
    folder = store.folder / "edge" / "random-name"
    folder.mkdir(parents=True)
    (folder / "access.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    store.audit()
    store.audit()
    read = "SELECT address, path, status, user FROM edge_log ORDER BY status, address"
    assert store.ask(AUDITOR.id, read).rows == [
        ["203.0.113.9", "/query", "200", MEMBER.id],
        ["203.0.113.7", "/v1/logs", "401", MEMBER.id],
        ["", "", "403", "(unknown)"],
        ["203.0.113.9", "/query", "403", MEMBER.id],
        ["203.0.113.8", "/" + "x" * 199, "404", ""],
        ["203.0.113.9", "/query", "999", MEMBER.id],
    ]


def test_both_are_kept_for_400_days(store: Store) -> None:
    tables = store.admin(
        "SELECT name FROM system.tables WHERE database = 'telemetry' "
        "AND position(create_table_query, 'TTL toDateTime(ts) + toIntervalDay(400)') > 0 "
        "ORDER BY name"
    )
    assert [row[0] for row in tables] == sorted(names.ACCESS)


def test_the_report_tells_who_asked_and_what_was_refused(store: Store) -> None:
    store.ask(MEMBER.id, "SELECT * FROM telemetry.suppressions")
    store.ask(MEMBER.id, "SELECT 1", password="wrong")
    store.ask("someone", "SELECT 1")
    admin = partial(warehouse.as_admin, store.settings, store.secrets)
    made = report.ask_access(lambda: warehouse.reading(admin()), datetime.now(UTC))
    [person] = [row for row in _rows(made, "people") if row["user"] == MEMBER.id]
    assert person["denied"] >= 1
    assert {row["user"] for row in _rows(made, "logins")} == {MEMBER.id, "(unknown)"}
    [denied] = [row for row in _rows(made, "denied") if row["user"] == MEMBER.id]
    assert (denied["error"], denied["addresses"]) == ("ACCESS_DENIED", [EDGE])
    assert made.facts["failed_logins"] == sum(row["times"] for row in _rows(made, "logins"))
    for form in ("md", "html", "csv", "json"):
        assert "ACCESS_DENIED" in report.rendered(made, form)


def _rows(made: report_text.Access, name: str) -> list[dict[str, Any]]:
    section = made.section(name)
    assert section is not None
    return list(section.rows)


def test_the_command_writes_it(stack: Stack) -> None:
    stack.member("SELECT 1 FROM telemetry_events")
    told = json.loads(stack.ok("report", "access", "--format", "json"))
    queries = {row["user"]: row["queries"] for row in told["sections"]["people"]}
    assert queries[stack.home.secrets().member] >= 1
    assert stack.run("report", "access", "--month", "2026-11").returncode == 2
    old = json.loads(stack.ok("report", "access", "--format", "json", "--day", "2020-01-01"))
    assert old["denied"] == 0
