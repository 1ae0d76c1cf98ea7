"""Summaries say what the events say: at once, after deletions, and when the events are gone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.warehouse import migrations, names
from scripts import warehouse
from tests import recorded
from tests.conftest import Stack, until
from tests.queries import oracle
from tests.recorded import Recorded

pytestmark = pytest.mark.stack

FIGURES = {
    "usage_daily": "requests, cost_usd, input_tokens, output_tokens",
    "tools_daily": "calls, failures, accepted_by_rule, duration_ms",
    "errors_daily": "errors",
    "activity_hourly": "events, prompts, cost_usd",
    "durations_daily": "events, duration_ms, about_ms",
    "sessions_daily": "events, prompts, requests, tool_calls, cost_usd",
    "validations": "weight",
    "active_daily": "active_s",
}
"""Columns that add up, by summary."""


@pytest.fixture
def stack(own_stack: Stack) -> Stack:
    own_stack.ok("up")
    return own_stack


def send(stack: Stack, requests: list[Recorded]) -> int:
    """Send them all and wait until they are stored; how many events there are now."""
    before = stack.member("SELECT count() FROM telemetry_events")[0][0]
    for request in requests:
        assert stack.post("logs", json.dumps(request.body).encode()) == 200
    total = before + len(oracle.events(requests))
    until(lambda: stack.member("SELECT count() FROM telemetry_events") == [(total,)])
    return int(total)


def refresh(stack: Stack) -> None:
    client = warehouse.as_admin(stack.settings, stack.home.secrets())
    warehouse.refresh(client)
    client.close_connections()


def totals(stack: Stack, suffix: str = "") -> dict[str, Any]:
    """Sums of every summary, as the member reads it, or of the questions asked anew (`_now`)."""
    return {
        name: stack.member(
            f"SELECT count(), {', '.join(f'sum({each.strip()})' for each in columns.split(','))} "
            f"FROM {name}{suffix}"
        )[0]
        for name, columns in FIGURES.items()
    }


def test_a_summary_is_never_behind_and_never_counts_twice(stack: Stack) -> None:
    requests = recorded.shifted(list(recorded.requests("logs", "2.1.330")))
    half = len(requests) // 2
    send(stack, requests[:half])
    assert totals(stack) == totals(stack, "_now")
    refresh(stack)
    assert totals(stack) == totals(stack, "_now") == totals(stack, "_store")
    send(stack, requests[half:])
    assert totals(stack) == totals(stack, "_now") != totals(stack, "_store")
    refresh(stack)
    assert totals(stack) == totals(stack, "_now") == totals(stack, "_store")
    [(cost,)] = stack.member("SELECT sum(cost_usd) FROM usage_daily")
    assert cost == oracle.cost(oracle.events(requests))


def is_delta(request: Recorded) -> bool:
    """Of running totals there is a case (tests/e2e/cases)."""
    return all(
        metric["sum"]["aggregationTemporality"] == 1
        for outer in request.body["resourceMetrics"]
        for scope in outer["scopeMetrics"]
        for metric in scope["metrics"]
    )


def test_active_time_is_never_behind_and_never_counts_twice(stack: Stack) -> None:
    sent = (each for each in recorded.requests("metrics", "2.1.330") if is_delta(each))
    requests = recorded.shifted(list(sent))
    half = len(requests) // 2
    read = "SELECT sum(active_s) FROM active_daily"
    for part in (requests[:half], requests[half:], requests):
        before = stack.member("SELECT count() FROM metric_points")
        for request in part:
            assert stack.post("metrics", json.dumps(request.body).encode()) == 200
        if part is not requests:  # the third time all of it is there already
            until(lambda: stack.member("SELECT count() FROM metric_points") != before)  # noqa: B023
        until(lambda: stack.member(read) == stack.member(read + "_now"))
    expected = sum(
        point["asDouble"]
        for request in requests
        for name, point, _, _ in recorded.points(request)
        if name == "claude_code.active_time.total"
    )
    assert expected
    until(lambda: float(stack.member(read)[0][0]) == pytest.approx(expected))
    refresh(stack)
    assert float(stack.member(read + "_store")[0][0]) == pytest.approx(expected)


def test_what_was_deleted_is_gone_from_every_summary(stack: Stack) -> None:
    requests = recorded.shifted(list(recorded.requests("logs", "2.1.330"))[:30])
    send(stack, requests)
    refresh(stack)
    sessions = oracle.sessions_that_worked(oracle.events(requests))
    gone, events = next((s, e) for s, e in sessions.items() if oracle.cost(e))
    client = warehouse.as_admin(stack.settings, stack.home.secrets())
    client.command(
        f"ALTER TABLE telemetry.{names.EVENTS} DELETE WHERE session_id = {{session:String}}",
        parameters={"session": gone},
        settings={"mutations_sync": 2},
    )
    client.close_connections()
    refresh(stack)
    assert totals(stack) == totals(stack, "_now")
    rest = [each for each in oracle.events(requests) if each.session != gone]
    [(cost, left)] = stack.member(
        "SELECT sum(cost_usd), countIf(session_id = {session:String}) FROM sessions_daily",
        session=gone,
    )
    assert (cost, left) == (oracle.cost(rest), 0)
    assert events


def test_days_of_which_everything_was_deleted_are_gone_from_daily_metrics(stack: Stack) -> None:
    send(stack, recorded.shifted(list(recorded.requests("logs", "2.1.330"))[:10]))
    refresh(stack)
    keep(stack)
    assert stack.member("SELECT count() > 0, min(day) > toDate(0) FROM daily_metrics") == [(1, 1)]
    stack.admin(f"TRUNCATE TABLE telemetry.{names.EVENTS}")
    stack.admin(f"TRUNCATE TABLE telemetry.{names.TOUCHED_DAYS}")
    refresh(stack)
    keep(stack)
    assert stack.member("SELECT * FROM daily_metrics") == []


def test_summaries_come_out_whole_wherever_their_rebuild_is_interrupted(stack: Stack) -> None:
    send(stack, recorded.shifted(list(recorded.requests("logs", "2.1.330"))[:10]))
    [rebuild] = [file for file in migrations.migrations() if file.name.startswith("0007")]
    client = warehouse.as_admin(stack.settings, stack.home.secrets())
    for done in range(len(rebuild.statements)):
        for statement in (*rebuild.statements[:done], *rebuild.statements):
            client.command(statement)
    client.close_connections()
    expected = totals(stack, "_now")
    assert totals(stack) == expected
    # Of these alone: what later files made on top of them is not there again.
    for what in ("REFRESH", "WAIT"):
        for view in names.SUMMARY_REFRESHES:
            stack.admin(f"SYSTEM {what} VIEW telemetry.{view}")
    assert totals(stack) == expected == totals(stack, "_store")


def test_summaries_are_refreshed_by_themselves(stack: Stack) -> None:
    views = stack.admin(
        "SELECT view, exception FROM system.view_refreshes WHERE database = 'telemetry'"
    )
    refreshed = {
        *names.SUMMARY_REFRESHES,
        names.DAILY_METRICS_KEEP,
        names.RETENTION_REPORTS_KEEP,
        *names.ACCESS_KEEPS,
    }
    assert {view for view, _ in views} == refreshed
    assert {exception for _, exception in views} == {""}


def test_a_day_outlives_its_events(stack: Stack) -> None:
    """Time is moved by shortening the retention: days that were whole are then past it."""
    requests = recorded.shifted(list(recorded.requests("logs", "2.1.330"))[:20])
    old = [moved(request, days=10) for request in requests[:10]]
    send(stack, [*old, *requests[10:]])
    columns = "day, chapter, members, sessions, requests, cost_usd, output_tokens"
    question = f"SELECT {columns} FROM daily_metrics ORDER BY day, chapter"
    before = stack.member(question)
    assert sum(row[5] or 0 for row in before) == oracle.cost(oracle.events([*old, *requests[10:]]))
    keep(stack)
    stack.change(retention={"eventsDays": 5})
    assert "telemetry_events keeps 5 days" in stack.ok("up")
    stack.admin("OPTIMIZE TABLE telemetry.telemetry_events FINAL")
    refresh(stack)
    kept = len(oracle.events(requests[10:]))
    until(lambda: stack.member("SELECT count() FROM telemetry_events") == [(kept,)])
    assert stack.member(question) == before, "the days are as they were"
    keep(stack)
    assert stack.member(question) == before, "and are not written down anew"
    late = moved(requests[0], days=9, session="late")
    assert stack.post("logs", json.dumps(late.body).encode()) == 200
    refresh(stack)
    assert stack.member(question) == before, "what comes too late is not added"


def keep(stack: Stack) -> None:
    """Write the days down, as happens every ten minutes."""
    stack.admin(f"SYSTEM REFRESH VIEW telemetry.{names.DAILY_METRICS_KEEP}")
    stack.admin(f"SYSTEM WAIT VIEW telemetry.{names.DAILY_METRICS_KEEP}")


def moved(request: Recorded, *, days: int, session: str = "") -> Recorded:
    """The same request, some days earlier, in another session if one is named."""
    body = json.loads(json.dumps(request.body))
    for outer in body["resourceLogs"]:
        for scope in outer["scopeLogs"]:
            for record in scope["logRecords"]:
                record["timeUnixNano"] = str(int(record["timeUnixNano"]) - days * 86400 * 10**9)
                for entry in record["attributes"]:
                    if session and entry["key"] == "session.id":
                        entry["value"] = {"stringValue": session}
    return Recorded(request.run, request.name, request.signal, body)
