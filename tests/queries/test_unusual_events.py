"""Figures of events that no recorded client has sent, but one might: made by hand."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from scripts import warehouse
from scripts.errors import Failure
from stacks.home import PROJECT
from tests.conftest import Stack, until
from tests.made import log, request
from tests.queries.test_shipped import answer
from tests.queries.test_summaries import refresh

pytestmark = pytest.mark.stack

MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("unusual"))
    made.ok("up")
    yield made
    made.down()


def send(stack: Stack, *records: dict[str, Any]) -> None:
    """Until they are rows."""
    count = "SELECT count() FROM telemetry_events"
    [(before,)] = stack.member(count)
    assert stack.post("logs", request(*records)) == 200
    until(lambda: stack.member(count) == [(before + len(records),)])


def event(
    name: str, session: str, number: int, says: dict[str, str], *, at: datetime = MIDNIGHT
) -> dict[str, Any]:
    attributes = {"event.name": name, "event.sequence": number, **says}
    return log(session, timeUnixNano=f"{int(at.timestamp())}000000000", attributes=attributes)


def test_a_very_dear_request_is_counted_to_the_micro_dollar(stack: Stack) -> None:
    says = {"model": "dear", "cost_usd_micros": "1234567890123", "cost_usd": "1234567.890123"}
    send(stack, event("api_request", str(uuid.uuid4()), 0, says))
    [row] = [each for each in answer(stack, "cost-by-model") if each["model"] == "dear"]
    assert row["cost_usd"] == Decimal("1234567.890123")
    refresh(stack)
    [row] = [each for each in answer(stack, "cost-by-model") if each["model"] == "dear"]
    assert row["cost_usd"] == Decimal("1234567.890123")


def test_events_without_a_session_cost_and_are_no_session(stack: Stack) -> None:
    before = {row["day"]: row for row in answer(stack, "cost-by-day")}
    record = event("api_request", "", 0, {"model": "m", "cost_usd_micros": "7"})
    record["attributes"] = [e for e in record["attributes"] if e["key"] != "session.id"]
    send(stack, record)
    after = {row["day"]: row for row in answer(stack, "cost-by-day")}
    day = MIDNIGHT.date()
    was = before.get(day, {"cost_usd": 0, "sessions": 0})
    assert after[day]["cost_usd"] == was["cost_usd"] + Decimal("0.000007")
    assert after[day]["sessions"] == was["sessions"]
    assert "" not in [row["session_id"] for row in answer(stack, "sessions")]
    assert stack.member("SELECT count() FROM sessions WHERE session_id = ''") == [(0,)]
    assert "" in [row["session_id"] for row in answer(stack, "cost-without-chapter")]


@pytest.mark.parametrize("ms", [0, 1, 7, 14, 36, 127, 128, 999, 123456, 9_000_000_000])
def test_a_duration_is_within_5_percent(stack: Stack, ms: int) -> None:
    says = {"tool_name": f"tool{ms}", "duration_ms": str(ms), "success": "true"}
    send(stack, event("tool_result", str(uuid.uuid4()), 0, says))
    [row] = [each for each in answer(stack, "slow-tools") if each["tool_name"] == f"tool{ms}"]
    assert row["p50_ms"] == row["p95_ms"] == pytest.approx(ms, rel=0.05)


def test_a_rejection_before_midnight_is_followed_up_after_it(stack: Stack) -> None:
    session, before = str(uuid.uuid4()), MIDNIGHT - timedelta(minutes=1)
    says = {"tool_name": "Edit", "decision": "reject", "source": "user_reject"}
    send(
        stack,
        event("tool_decision", session, 1, says, at=before),
        event("user_prompt", session, 2, {}),
    )
    refresh(stack)
    asked = "SELECT toDate(ts) = day, outcome FROM validations WHERE session_id = {s:String}"
    assert stack.member(asked, s=session) == [(1, "modified")]
    [row] = [each for each in answer(stack, "rework") if each["session_id"] == session]
    assert row["prompts_after_rejection"] == 1


def checked(stack: Stack, model: str) -> dict[str, Any]:
    [row] = [each for each in answer(stack, "cost-check") if each["model"] == model]
    return row


def test_the_cost_check_allows_for_rounding_and_for_nothing_else(stack: Stack) -> None:
    session, model = str(uuid.uuid4()), "claude-sonnet-5"  # a cache read of it: 0.2 USD a million
    says = {"model": model, "input_tokens": "0", "output_tokens": "0", "cost_usd_micros": "3000"}
    says |= {"cache_read_tokens": "15002", "cache_creation_tokens": "0"}
    send(stack, *(event("api_request", session, n, says) for n in range(50)))
    assert checked(stack, model)["difference_usd"] == pytest.approx(-0.00002)
    assert checked(stack, model)["remark"] == ""
    wrong = {**says, "cost_usd_micros": "9999"}
    send(stack, event("api_request", session, 50, wrong))
    assert checked(stack, model)["remark"] == "differs"
    del says["cost_usd_micros"]
    send(stack, event("api_request", session, 51, says))
    assert checked(stack, model)["remark"] == "cost partly reported"
    assert checked(stack, model)["difference_usd"] is None


def test_cache_writes_are_priced_by_what_each_request_tells(stack: Stack) -> None:
    session, model = str(uuid.uuid4()), "claude-haiku-4-5"  # 1.25 and 2 USD a million
    says = {"model": model, "input_tokens": "0", "output_tokens": "0", "cache_read_tokens": "0"}
    told = {"cache_creation_5m_tokens": "600", "cache_creation_1h_tokens": "400"}
    hour_only = {"cache_creation_1h_tokens": "400"}
    for number, more in enumerate(({}, told, hour_only)):
        written = {**says, "cache_creation_tokens": "1000", "cost_usd_micros": "1", **more}
        send(stack, event("api_request", session, number, written))
    expected = (1000 * 1.25 + 2 * (600 * 1.25 + 400 * 2)) / 1e6
    assert checked(stack, model)["recomputed_usd"] == pytest.approx(expected, abs=1e-6)


def test_too_many_days_are_all_there_are_and_no_month_is_refused(stack: Stack) -> None:
    assert answer(stack, "cost-by-day", days="65535") == answer(stack, "cost-by-day", days="90")
    with pytest.raises(Failure, match="such as 2026-11"):
        answer(stack, "budget", month="2026-13")


def test_the_example_with_curl_takes_a_parameter_that_has_a_default(stack: Stack) -> None:
    for session in (str(uuid.uuid4()), str(uuid.uuid4())):
        send(stack, event("user_prompt", session, 0, {}))
    done = subprocess.run(
        [PROJECT / "queries" / "examples.sh", "sessions", "limit=1"],
        env={
            **os.environ,
            "TELEMETRY_HOME": str(stack.home.path),
            "CLICKHOUSE_URL": warehouse.url(stack.settings),
            "FORMAT": "TSV",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 1
