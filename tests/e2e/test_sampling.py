"""Where sessions are sampled: whole ones, requests and errors of all, and totals as without."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from infra.collector.sample import ALWAYS
from tests import made, recorded
from tests.conftest import Stack, until

pytestmark = pytest.mark.stack

RATIO = 0.25
SESSIONS = 400
IDS = [str(uuid.UUID(int=number * 2**96 + number)) for number in range(1, SESSIONS + 1)]


def is_in(session: str) -> bool:
    """As every collector decides."""
    return int(hashlib.sha256(session.encode()).hexdigest()[:8], 16) < RATIO * 2**32


EVENTS: tuple[dict[str, Any], ...] = (
    {"event.name": "user_prompt"},
    {"event.name": "api_request", "cost_usd_micros": 2500, "input_tokens": 10},
    {"event.name": "tool_result", "success": "true", "tool_name": "Read"},
    {"event.name": "tool_result", "success": "false", "tool_name": "Read"},
    {"event.name": "api_error", "error": "Overloaded", "status_code": 529},
    {"event.name": "user_prompt"},
    {"event.name": "compaction"},
)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that keeps a quarter of the sessions, and was sent 400 of the same kind, of which
    every tenth has prompts alone."""
    stack = Stack(tmp_path_factory.mktemp("sampled"), sampling={"ratio": RATIO})
    stack.ok("up")
    for number, session in enumerate(IDS):
        events = EVENTS if number % 10 else [EVENTS[0]] * 3
        records = [
            made.log(session, attributes={**event, "event.sequence": seq})
            for seq, event in enumerate(events, start=1)
        ]
        assert stack.post("logs", made.request(*records)) == 200
    kept = sum(
        len(EVENTS if number % 10 else [0] * 3) if is_in(session) else 3 if number % 10 else 0
        for number, session in enumerate(IDS)
    )
    until(lambda: stack.member("SELECT count() FROM telemetry_events")[0][0] >= kept)
    assert stack.member("SELECT count() FROM telemetry_events") == [(kept,)]
    yield stack
    stack.down()


def test_a_session_is_kept_as_a_whole_or_its_requests_and_errors_are(sampled: Stack) -> None:
    found = defaultdict(set)
    for session, seq in sampled.member("SELECT session_id, seq FROM telemetry_events"):
        found[session].add(seq)
    for number, session in enumerate(IDS):
        whole = {1, 2, 3, 4, 5, 6, 7} if number % 10 else {1, 2, 3}
        always = {2, 4, 5} if number % 10 else set()
        assert found[session] == (whole if is_in(session) else always)


def test_costs_and_errors_are_exact_and_other_totals_are_near(sampled: Stack) -> None:
    full = SESSIONS - SESSIONS // 10
    [(cost, requests, errors, failures, calls, prompts, compactions)] = sampled.member(
        "SELECT toFloat64(sum(cost_usd)), sum(requests), sum(api_errors), sum(tool_failures), "
        "sum(tool_calls), sum(prompts), sum(compactions) FROM sessions_daily"
    )
    assert cost == pytest.approx(full * 0.0025)
    assert (requests, errors, failures) == (full, full, full)
    # What a hash left in is a quarter by chance: these ids are always the same, so this is too.
    share = sum(map(is_in, IDS)) / SESSIONS
    assert share == pytest.approx(RATIO, abs=0.06)
    assert compactions == pytest.approx(full, rel=0.25)
    inside = [number for number, session in enumerate(IDS) if is_in(session)]
    assert compactions == 4 * sum(1 for number in inside if number % 10)
    assert calls == compactions + full
    assert prompts == 4 * sum(2 if number % 10 else 3 for number in inside)


def test_sessions_are_counted_as_if_all_were_there(sampled: Stack) -> None:
    alone = sum(1 for number, session in enumerate(IDS) if is_in(session) and number % 10 == 0)
    counted = SESSIONS - SESSIONS // 10 + 4 * alone
    assert counted == pytest.approx(SESSIONS, rel=0.1)
    for view in ("member_daily", "users", "daily_metrics"):
        assert sampled.member(f"SELECT sum(sessions) FROM {view}") == [(counted,)], view


def test_of_a_session_what_happened_is_told_not_what_it_stands_for(sampled: Stack) -> None:
    rows = sampled.member(
        "SELECT session_id, prompts_by_people, tool_calls, tool_failures, requests, events "
        "FROM sessions"
    )
    told = {session: values for session, *values in rows}
    for number, session in enumerate(IDS):
        if number % 10 and is_in(session):
            assert told[session] == [2, 2, 1, 1, 7]
        elif number % 10:
            assert told[session] == [None, None, 1, 1, None]
        elif is_in(session):
            assert told[session] == [3, 0, 0, 0, 3]
        else:
            assert session not in told


def test_what_was_left_out_is_no_gap(sampled: Stack) -> None:
    assert json.loads(sampled.ok("query", "gaps", "--format", "json")) == []


def test_records_without_a_session_and_metrics_are_all_kept(sampled: Stack) -> None:
    count = "SELECT count() FROM telemetry_events WHERE session_id = ''"
    records = [
        made.log("", attributes={"event.sequence": number, "prompt_length": number})
        for number in range(40)
    ]
    assert sampled.post("logs", made.request(*records)) == 200
    until(lambda: sampled.member(count) == [(40,)])
    found = recorded.shifted(list(recorded.requests("metrics"))[:5])
    sampled.send(found)


def test_recorded_requests_and_errors_are_all_kept(sampled: Stack) -> None:
    found = recorded.shifted(list(recorded.requests("logs")))
    sent = Counter(
        (attributes.get("session.id", ""), attributes["event.name"])
        for request in found
        for attributes, _, _ in recorded.events(request)
        if attributes["event.name"] in ALWAYS
    )
    assert len(sent) > 10
    for request in found:
        assert sampled.post("logs", json.dumps(request.body).encode()) == 200
    asked = (
        "SELECT session_id, event, count(), sum(weight) FROM telemetry_events "
        "WHERE event IN {names:Array(String)} GROUP BY session_id, event"
    )

    def stored() -> dict[tuple[str, str], tuple[int, float]]:
        rows = sampled.member(asked, names=list(ALWAYS))
        return {(row[0], row[1]): (row[2], row[3]) for row in rows if row[0] not in IDS}

    wanted = {key: (count, count) for key, count in sent.items()}
    until(lambda: len(stored()) >= len(wanted))
    until(lambda: stored() == wanted)


def test_a_ratio_that_is_none_is_refused(sampled: Stack) -> None:
    sampled.change(sampling={"ratio": 0})
    done = sampled.run("up")
    assert done.returncode == 2
    assert "telemetry:sampling.ratio is 0" in done.stderr
    sampled.change(sampling={"ratio": RATIO})
