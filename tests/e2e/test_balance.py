"""The collector's own counters as a balance: it closes, and where it does not, that is said."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from scripts import balance, counters, supervise
from scripts.counters import Sample
from stacks.embedded.processes import Layout
from tests import made, recorded
from tests.conftest import Stack, until

pytestmark = pytest.mark.stack


def balances(stack: Stack) -> dict[str, balance.Balance]:
    return balance.balances(stack.settings, counters.samples(stack.settings))


def told(stack: Stack, signal: str) -> dict[str, int]:
    found = json.loads(stack.run("status", "--json").stdout)["balances"][signal]
    assert isinstance(found, dict)
    return found


def settled(stack: Stack) -> bool:
    return counters.waiting(stack.settings) == 0


def test_the_balance_of_all_recorded_requests_closes(own_stack: Stack) -> None:
    own_stack.change(sampling={"ratio": 0.5})
    own_stack.ok("up")
    before = balances(own_stack)["logs"]
    found = [each for each in recorded.requests() if each.signal in ("logs", "metrics")]
    for request in recorded.shifted(found):
        assert own_stack.post(request.signal, json.dumps(request.body).encode()) == 200
    odd = made.request(*(made.log("", attributes={"event.name": "An odd name"}) for _ in range(3)))
    assert own_stack.post("logs", odd) == 200
    until(lambda: settled(own_stack))
    until(lambda: balances(own_stack)["logs"].closes)
    after = balances(own_stack)["logs"]
    sent = sum(1 for each in found for _ in recorded.events(each)) + 3
    assert after.arrived - before.arrived == sent
    assert after.set_aside == 3
    assert after.sampled_out > 0
    assert after.arrived == after.stored + after.set_aside + after.sampled_out
    points = balances(own_stack)["metrics"]
    assert points.closes
    assert points.arrived == points.stored > 0
    status = own_stack.run("status").stdout
    assert f"{after.arrived:,} events came = {after.stored:,} stored + 3 set aside" in status
    assert told(own_stack, "logs")["difference"] == 0


def test_what_waits_is_in_the_balance_and_what_waited_before(own_stack: Stack) -> None:
    own_stack.ok("up")
    supervisor = supervise.Supervisor(Layout(own_stack.home))
    supervisor.halt("clickhouse")
    before = balances(own_stack)["logs"]
    records = [made.log("a", attributes={"event.sequence": number}) for number in range(50)]
    assert own_stack.post("logs", made.request(*records)) == 200
    until(lambda: balances(own_stack)["logs"].waiting == 50)
    assert balances(own_stack)["logs"].closes
    supervisor.halt("collector")
    supervisor.run("collector")
    until(lambda: counters.samples(own_stack.settings))
    supervisor.run("clickhouse")
    until(lambda: own_stack.metric("otelcol_exporter_sent_log_records") == 50, 60)
    again = made.request(made.log("a", attributes={"event.sequence": 99}))
    until(lambda: own_stack.post("logs", again) == 200)
    until(lambda: balances(own_stack)["logs"].stored == 51)
    found = balances(own_stack)["logs"]
    assert (found.arrived, found.from_before, found.difference) == (1, 50, 0)
    assert before.from_before == 0
    assert "1 events came = 1 stored (50 more stored, from before)" in found.said


_COUNTERS = {
    "transform/sanitize": ("otelcol_processor_outgoing_items", 'processor="transform/sanitize"'),
    "the filters": ("otelcol_processor_outgoing_items", 'processor="filter/store"'),
    "the queue": ("otelcol_exporter_sent_log_records", 'exporter="clickhouse"'),
}
"""What counts behind each step, in order."""


def lost(samples: list[Sample], count: int, where: str) -> list[Sample]:
    """The same, had so many been lost in a step: it and all later ones have counted fewer."""
    steps = list(_COUNTERS)
    behind = [_COUNTERS[step] for step in steps[steps.index(where) :]]
    return [
        (each, had, value - count * any(each == name and label in had for name, label in behind))
        for each, had, value in samples
    ]


@pytest.mark.parametrize("where", list(_COUNTERS))
def test_where_it_does_not_close_is_said_and_by_how_much(
    own_stack: Stack, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    own_stack.ok("up")
    records = [made.log("a", attributes={"event.sequence": number}) for number in range(20)]
    assert own_stack.post("logs", made.request(*records)) == 200
    until(lambda: settled(own_stack))
    until(lambda: balances(own_stack)["logs"].closes)
    real = counters.samples(own_stack.settings)
    short = lost(real, 7, where)
    assert short != real, "the collector has that counter"
    monkeypatch.setattr(counters, "samples", lambda _: short)
    found = balance.balances(own_stack.settings, short)["logs"]
    assert (abs(found.difference), found.where) == (7, where)
    assert f"does not close: 7 of {found.arrived:,} that came are missing behind {where}" in (
        found.problem
    )
    assert replace(found, difference=0).problem == ""
