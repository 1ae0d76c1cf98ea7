"""The real client answers the same and ends well, in whatever state the stack is."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from scripts.prepare_tests import client_program
from tests import api, claude, states
from tests.conftest import Stack, until

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(
        client_program() is None,
        reason="Claude Code is not there; `python -m scripts.prepare_tests` fetches it",
    ),
]

DELIVERED = ("up", "ClickHouse away", "ClickHouse killed again and again")
"""States in which everything that the client sends is acknowledged."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with the smallest queue there is, so that it can be filled."""
    made = Stack(tmp_path_factory.mktemp("client"), queue={"maxMib": 64})
    made.ok("up")
    yield made
    made.down()


@pytest.fixture(scope="module")
def off(tmp_path_factory: pytest.TempPathFactory) -> claude.Turn:
    """A turn without telemetry."""
    with api.Api() as stand_in:
        return claude.turn(stand_in, tmp_path_factory.mktemp("off"), {})


@pytest.mark.parametrize("state", states.STATES)
def test_a_turn_is_the_same_whatever_state_the_stack_is_in(
    machine: Stack, off: claude.Turn, state: str
) -> None:
    # Thinks long enough that the client sends meanwhile, and not at its end alone.
    with states.STATES[state](machine), api.Api(tools=2, seconds=1) as stand_in:
        variables = json.loads(machine.ok("env", "--shell", "json"))["env"]
        turn = claude.turn(stand_in, machine.user, variables)
    assert (turn.answer, turn.code, turn.errors) == (api.ANSWER, 0, "")
    assert (off.answer, off.code, off.errors) == (api.ANSWER, 0, "")
    assert len(turn.between) == 2, "each call of a tool was made, and answered, once"
    if state in DELIVERED:
        until(lambda: is_whole(machine, turn))


def is_whole(machine: Stack, turn: claude.Turn) -> bool:
    """Whether all events of a turn are rows: nothing of its sequence is missing up to its end."""
    query = (
        "SELECT count(), max(seq) + 1, countIf(event = 'api_request') FROM telemetry_events "
        "WHERE session_id = {session:String}"
    )
    [(events, wanted, requests)] = machine.member(query, session=turn.session)
    return (events, requests) == (wanted, len(turn.between) + 1)
