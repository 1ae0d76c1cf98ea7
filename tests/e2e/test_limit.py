"""At the limit of the store the oldest raw rows go first, and that is said."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, date, datetime, timedelta

import pytest

from infra.warehouse import names
from scripts import supervise, warehouse
from stacks.embedded.processes import Layout
from tests import made, recorded
from tests.conftest import Stack, until

pytestmark = pytest.mark.stack

GIB = 1024**3


def days(stack: Stack, view: str, day: str = "day") -> dict[date, int]:
    rows = stack.admin(
        f"SELECT {day} AS d, count() FROM {names.DATABASE}.{view} WHERE d > toDate(0) "
        "GROUP BY d ORDER BY d"
    )
    return {row[0]: int(row[1]) for row in rows}


def problems(stack: Stack) -> list[str]:
    return list(json.loads(stack.run("status", "--json").stdout)["problems"])


def test_the_oldest_months_go_first_and_days_of_the_team_stay(own_stack: Stack) -> None:
    own_stack.change(retention={"eventsDays": 200, "metricsDays": 200})
    own_stack.ok("up")
    found = list(recorded.requests("logs"))
    for number, ago in enumerate((0, 45, 90)):
        own_stack.send(recorded.shifted(found[number::3], ago * 86_400))
    # What does not compress, so that a limit can be set at all.
    many = [made.log(str(uuid.uuid4())) for _ in range(5000)]
    assert own_stack.post("logs", made.request(*many)) == 200
    until(
        lambda: own_stack.member("SELECT uniq(session_id) > 4500 FROM telemetry_events") == [(1,)]
    )
    client = warehouse.as_admin(own_stack.settings, own_stack.home.secrets())
    warehouse.refresh(client)
    client.close_connections()
    told = "SELECT day, sum(requests), sum(cost_usd) FROM daily_metrics GROUP BY day ORDER BY day"
    figures = own_stack.member(told)
    before = days(own_stack, names.EVENTS, "toDate(ts)")
    assert problems(own_stack) == []
    own_stack.ok("tick")
    assert days(own_stack, names.EVENTS, "toDate(ts)") == before, "there is room"

    # A limit of which the store takes nine tenths, then one below what it holds.
    [(held,)] = own_stack.admin(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = 'telemetry' AND active"
    )
    own_stack.change(limits={"storeGib": round(held / GIB / 0.9, 7)})
    assert any("at the limit the oldest events go first" in each for each in problems(own_stack))
    own_stack.change(limits={"storeGib": round(0.9 * held / GIB, 7)})
    assert "limit: events up to" in own_stack.ok("tick")
    left = days(own_stack, names.EVENTS, "toDate(ts)")
    gone = set(before) - set(left)
    assert gone
    assert max(gone) < min(left), "the oldest go first"
    told_of = [problem for problem in problems(own_stack) if "were deleted before" in problem]
    [last] = re.findall(r"events up to (20\d\d-\d\d-\d\d) were deleted", " ".join(told_of))
    assert max(gone) <= date.fromisoformat(last) < min(left)
    assert own_stack.member(told) == figures
    # And a further `up` does not forget that they are gone.
    own_stack.ok("up")
    assert own_stack.member(told) == figures


def test_status_shows_memory_and_store_against_their_limits(own_stack: Stack) -> None:
    own_stack.ok("up")
    found = json.loads(own_stack.run("status", "--json").stdout)
    assert found["stored_limit_bytes"] == 100 * GIB
    assert 0 < found["stored_bytes"] < found["data_bytes"] * 2
    assert set(found["memory_bytes"]) == {"clickhouse", "collector"}
    for name, size in found["memory_bytes"].items():
        assert 10 * 1024**2 < size < found["memory_limit_bytes"][name]
    shown = own_stack.run("status").stdout
    assert "of 100 GiB, at which the oldest events go first" in shown
    assert "MiB" in shown.split("Memory", 1)[1]


def test_how_long_something_waits_is_said(own_stack: Stack) -> None:
    own_stack.ok("up")
    own_stack.ok("tick")
    seen = datetime.now(UTC)
    supervise.Supervisor(Layout(own_stack.home)).halt("clickhouse")
    assert own_stack.post("logs", made.request(made.log("a"))) == 200
    status = json.loads(own_stack.run("status", "--json").stdout)
    assert status["waiting_bytes"] > 0
    since = datetime.fromisoformat(status["waiting_since"] + "+00:00")
    assert abs(since - seen) < timedelta(minutes=1)
    assert "the oldest since 20" in own_stack.run("status").stdout
