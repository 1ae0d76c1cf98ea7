"""Every pattern, by its own examples and look-alikes, through the running collector."""

from __future__ import annotations

import uuid

import pytest

from infra.collector import rules
from tests.conftest import Stack, until
from tests.e2e.test_unusual_requests import log, request

pytestmark = pytest.mark.stack


def passed(stack: Stack, text: str) -> str:
    """What is stored of a text that came in a kept attribute."""
    session = str(uuid.uuid4())
    assert stack.post("logs", request(log(session, attributes={"result": text}))) == 200
    query = "SELECT extra['result'] FROM telemetry_events WHERE session_id = {s:String}"
    [(found,)] = until(lambda: stack.member(query, s=session))
    return str(found)


@pytest.mark.parametrize("pattern", rules.patterns(), ids=lambda pattern: pattern.name)
def test_its_examples_go_and_its_look_alikes_stay(stack: Stack, pattern: rules.Pattern) -> None:
    for example in pattern.examples:
        found = passed(stack, f"before\n{example}\nafter")
        assert f"[redacted:{pattern.name}]" in found, example
        assert found.startswith("before\n")
    for text in pattern.stays:
        assert passed(stack, text) == text
