"""ClickHouse away for three days: what came meanwhile is there afterwards, once."""

from __future__ import annotations

import pytest

from tests import recorded
from tests.conftest import Stack, until
from tests.faults.common import VERSION, Ledger, Sessions, kill, status, supervisor

pytestmark = pytest.mark.stack

HOURS = 72
BUSY_HOURS, AT_A_TIME, EVERY_S = 24, 2, 15
"""Of a busy member in three days: eight hours each at work, with two sessions at a time, each of
which asks the API every fifteen seconds without a pause."""


def test_what_came_in_72_hours_without_clickhouse_is_there_once(own_stack: Stack) -> None:
    """As much as a busy member sends. The recorded sessions tell how many events and points come
    with one request to the API (5.5 and 4.1; together some 11,500 requests, 63,000 events and
    48,000 points). They are sent over and over under fresh ids, from 72 hours ago until now."""
    own_stack.ok("up")
    supervisor(own_stack).halt("clickhouse")
    asked = sum(
        attributes["event.name"] == "api_request"
        for request in recorded.requests("logs", VERSION)
        for attributes, _, _ in recorded.events(request)
    )
    sessions, ledger = Sessions(), Ledger(own_stack)
    times = BUSY_HOURS * 3600 * AT_A_TIME // EVERY_S // asked
    deaths = {times // 3, times * 2 // 3}
    for number in range(times):
        ledger.send(*sessions.again(ago_s=HOURS * 3600 * (1 - number / times)))
        if number in deaths:
            dead = kill(own_stack, "collector")
            until(lambda: own_stack.pid("collector") not in (0, dead))  # noqa: B023
    found = status(own_stack)
    assert any("ClickHouse does not answer" in problem for problem in found["problems"])
    assert found["waiting_bytes"] > 300 * ledger.due["logs"].total()
    kill(own_stack, "collector")
    own_stack.ok("up")
    ledger.settle(300)
    until(lambda: own_stack.metric("otelcol_exporter_queue_size") == 0)
    [(requests, days)] = own_stack.member("SELECT sum(requests), uniqExact(day) FROM daily_metrics")
    assert (requests, days >= HOURS // 24) == (times * asked, True)
