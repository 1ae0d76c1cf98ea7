"""A queue at its bound: refused is what comes then, and nothing that was acknowledged is lost."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest

from infra.collector import content
from tests import made
from tests.conftest import Stack
from tests.faults.common import Ledger, Request, Sessions, posted, status, supervisor

pytestmark = pytest.mark.stack

MIB = 64
"""The least that `queue.maxMib` takes."""
_LONG = "a" * 16_000


def large(stack: Stack, texts: int) -> Request:
    """A record of so many times 16 kB: a queue of small ones takes minutes to fill."""
    names = [name for name in content.allowed(stack.settings) if name.isidentifier()][:texts]
    return one(**dict.fromkeys(names, _LONG))


def one(**attributes: str) -> Request:
    """A record of a session of its own."""
    session = str(uuid.uuid4())
    body = made.request(made.log(session, attributes={**attributes, "session.id": session}))
    return Request("logs", body, Counter({session: 1}))


def problems(stack: Stack) -> str:
    return "\n".join(status(stack)["problems"])


def test_a_full_queue_refuses_says_so_and_keeps_what_it_acknowledged(own_stack: Stack) -> None:
    own_stack.change(queue={"maxMib": MIB})
    own_stack.ok("up")
    supervisor(own_stack).halt("clickhouse")
    ledger = Ledger(own_stack)
    warned = ""
    for texts in (120, 10, 1, 0):
        while ledger.offer(large(own_stack, texts)) == 200:
            size = own_stack.metric("otelcol_exporter_queue_size")
            if not warned and size > 0.81 * MIB * 1024**2:
                warned = problems(own_stack)
    assert "the queue of logs is nearly full (5" in warned

    # One of its records would be set aside; the other one waits, with its client.
    good, odd = made.log("late"), made.log("odd", timeUnixNano="1")
    mixed = Request("logs", made.request(good, odd), Counter(late=1))
    assert [posted(own_stack, "logs", mixed.body) for _ in range(3)] == [503] * 3
    found = status(own_stack)
    [full] = [text for text in found["problems"] if "queue of logs is full (64 of 64 MiB)" in text]
    refused = found["queues"]["logs"]["refused"]
    assert f"{refused} were refused" in full
    assert refused == 4 + 3 * 1
    assert found["queues"]["logs"]["limit_bytes"] == MIB * 1024**2
    assert found["queues"]["metrics"]["refused"] == 0
    ledger.send(*[each for each in Sessions().again() if each.signal == "metrics"])

    own_stack.ok("up")
    ledger.send(mixed, *Sessions().again())
    ledger.settle()
    found = status(own_stack)
    assert not [text for text in found["problems"] if "the queue of" in text]
    assert found["queues"]["logs"]["refused"] == refused
    assert found["set_aside_records"] == 1, "sent four times, and one record all the same"
    assert any("1 record(s) were set aside" in text for text in found["problems"])
