"""What did not arrive is told, and what only looks like it is not."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator

import pytest

from tests import made, recorded
from tests.conftest import Stack, until
from tests.queries import oracle
from tests.queries.test_shipped import answer

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Holds all recorded logs, an hour old."""
    found = Stack(tmp_path_factory.mktemp("gaps"))
    found.ok("up")
    requests = recorded.shifted(list(recorded.requests("logs")), ago_s=3600)
    for request in requests:
        assert found.post("logs", json.dumps(request.body).encode()) == 200
    total = len(oracle.events(requests))
    until(lambda: found.member("SELECT count() FROM telemetry_events") == [(total,)])
    yield found
    found.down()


def _stored(stack: Stack, session: str) -> int:
    query = "SELECT count() FROM telemetry_events WHERE session_id = {s:String}"
    return int(stack.member(query, s=session)[0][0])


def send(stack: Stack, *steps: tuple[str, int, float]) -> None:
    """Events, each of a session, with its number, so many seconds ago."""
    before = {each: _stored(stack, each) for each, _, _ in steps}
    records = [
        made.log(
            session,
            timeUnixNano=str(int((time.time() - ago) * 1e9)),
            attributes={"event.sequence": number},
        )
        for session, number, ago in steps
    ]
    assert stack.post("logs", made.request(*records)) == 200
    for session in {session for session, _, _ in steps}:
        mine = sum(each == session for each, _, _ in steps)
        there = before[session]
        until(lambda: _stored(stack, session) == there + mine)  # noqa: B023 (at once)


def missing(stack: Stack, *sessions: str) -> list[tuple[int, int]]:
    """Missing events and gaps of these sessions."""
    found = {row["session_id"]: row for row in answer(stack, "gaps")}
    rows = [found[session] for session in sessions if session in found]
    return [(row["missing_events"], row["gaps"]) for row in rows]


def test_recordings_of_the_real_client_have_no_gaps(stack: Stack) -> None:
    """Among them are resumed sessions, throw-away ids and processes of several sessions."""
    ours = {
        session for (session,) in stack.member("SELECT DISTINCT session_id FROM telemetry_events")
    }
    assert len(ours) > 50
    assert missing(stack, *ours) == []


def test_numbers_that_are_missing_are_counted(stack: Stack) -> None:
    session = str(uuid.uuid4())
    send(stack, *((session, number, 900 - number) for number in (0, 1, 2, 5, 6, 9)))
    assert missing(stack, session) == [(4, 2)]
    send(stack, *((session, number, 900 - number) for number in (3, 4)))
    assert missing(stack, session) == [(2, 1)], "what comes late closes a gap"
    found = json.loads(stack.ok("status", "--json"))
    assert found["sessions_with_gaps"] >= 1
    assert found["missing_events"] >= 2
    assert "telemetry query gaps" in stack.ok("status")


def test_a_resumed_session_starts_to_count_anew(stack: Stack) -> None:
    session = str(uuid.uuid4())
    first = [(session, number, 5000 - number) for number in range(6)]
    again = [(session, number, 1000 - number) for number in range(4, 9)]
    send(stack, *first, *again)
    assert missing(stack, session) == []


def test_one_process_may_serve_two_sessions(stack: Stack) -> None:
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    steps = [(other if number in (3, 4, 5) else one, number, 800 - number) for number in range(9)]
    send(stack, *steps)
    assert missing(stack, one, other) == []


def test_a_clock_that_was_set_back_is_no_gap(stack: Stack) -> None:
    session = str(uuid.uuid4())
    send(stack, (session, 0, 700), (session, 1, 699), (session, 2, 760), (session, 3, 698))
    assert missing(stack, session) == []


def test_what_may_still_be_on_its_way_is_not_judged(stack: Stack) -> None:
    session = str(uuid.uuid4())
    send(stack, (session, 0, 2), (session, 5, 1))
    assert missing(stack, session) == []


def test_a_member_who_falls_silent_is_shown(own_stack: Stack) -> None:
    own_stack.ok("up")
    member = own_stack.home.secrets().member
    day = 86400.0

    def work(*days_ago: int) -> None:
        session = str(uuid.uuid4())
        send(own_stack, *((session, number, ago * day) for number, ago in enumerate(days_ago)))

    work(30, 23)
    assert answer(own_stack, "quiet-members") == [], "too little is known of them"
    work(29, 27, 26, 25)
    [row] = answer(own_stack, "quiet-members")
    assert (row["member"], row["quiet_days"], row["days_of_work"]) == (member, 23, 6)
    assert row["usual_gap_days"] <= 2
    assert json.loads(own_stack.ok("status", "--json"))["quiet_members"] == [f"{member} (23 days)"]
    work(3)
    assert answer(own_stack, "quiet-members") == []
