"""What coordinators read: cost by member, and of what was done nothing that fewer members than the
floor stand behind."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from infra.settings import Settings
from infra.warehouse import names
from scripts import queries, toolchain
from tests.shared import Store, login

pytestmark = pytest.mark.stack

FLOOR = 3
UNDER = "(under floor)"
COORDINATOR = login(11, "coordinator")
DAY = date(2026, 11, 20)

Event = dict[str, Any]
Row = Mapping[str, str]


def tool(day: date, member: int, name: str, team: str = "red", **changes: Any) -> Event:
    number = next(_NUMBERS)
    return {
        "ts": f"{day} 10:00:{number % 60:02}.{number // 60 % 1000:03}",
        "event": "tool_result",
        "member": login(member).id,
        "session_id": f"session-{member}",
        "seq": number,
        "team": team,
        "chapter": "one",
        "tool_name": name,
        "success": False,
        "error_type": "Error",
        "error": f"{name} broke",
        "duration_ms": 100,
        **changes,
    }


def request(day: date, member: int, cost: str, team: str = "red", **changes: Any) -> Event:
    return tool(day, member, "", team) | {
        "event": "api_request",
        "model": "claude-opus-5-5",
        "cost_usd": cost,
        "input_tokens": 10,
        "success": None,
        "error": "",
        "error_type": "",
        **changes,
    }


_NUMBERS = iter(range(10**9))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    programs = toolchain.programs(Settings())
    made = Store(tmp_path_factory.mktemp("floor"), programs, [COORDINATOR], floor=FLOOR)
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def empty(store: Store) -> None:
    """Nothing of other tests."""
    for table in (names.EVENTS, names.METRIC_POINTS, names.DAILY_METRICS_KEPT):
        store.admin(f"TRUNCATE TABLE telemetry.{table}")


def stored(store: Store, events: Iterable[Event]) -> None:
    store.insert(names.EVENTS, events)
    store.refresh()


def shown(store: Store, table: str) -> list[Row]:
    """All that a coordinator reads of a table."""
    answer = store.ask(COORDINATOR.id, f"SELECT * FROM {table} FORMAT TSVWithNames")
    head, *rows = answer.rows
    return [dict(zip(head, row, strict=True)) for row in rows]


def tools(store: Store) -> dict[str, float]:
    return {row["tool_name"]: float(row["calls"]) for row in shown(store, "tools_daily")}


def test_a_group_of_enough_is_shown_and_nobody_is_named(store: Store) -> None:
    stored(store, [tool(DAY, member, "Bash") for member in (1, 2, 3, 3)])
    assert tools(store) == {"Bash": 4}
    [row] = shown(store, "tools_daily")
    assert (row["member"], row["chapter"]) == ("", "")


def test_small_groups_are_folded_together(store: Store) -> None:
    groups = {"Bash": (1, 2, 3), "Edit": (1,), "Read": (2, 3)}
    stored(store, [tool(DAY, each, name) for name, who in groups.items() for each in who])
    assert tools(store) == {"Bash": 3, UNDER: 3}


def test_where_the_fold_is_small_itself_everything_is_folded(store: Store) -> None:
    """Else the total, less what is shown, would be what one member did."""
    groups = {"Bash": (1, 2, 3), "Edit": (1,)}
    stored(store, [tool(DAY, each, name) for name, who in groups.items() for each in who])
    assert tools(store) == {UNDER: 4}


def test_a_day_of_too_few_is_left_out_and_its_cost_stays(store: Store) -> None:
    stored(store, [tool(DAY, 1, "Bash"), tool(DAY, 2, "Bash"), request(DAY, 1, "1.5")])
    behaviour = ("tools_daily", "errors_daily", "durations_daily", "validations", "active_daily")
    assert [table for table in behaviour if shown(store, table)] == []
    assert [row["cost_usd"] for row in shown(store, "usage_daily")] == ["1.5"]
    [hour] = shown(store, "activity_hourly")
    assert (hour["hour"], hour["events"], hour["requests"], hour["cost_usd"]) == (
        "\\N",
        "\\N",
        "1",
        "1.5",
    )
    [metrics] = shown(store, "daily_metrics")
    assert (metrics["sessions"], metrics["tool_calls"], metrics["cost_usd"]) == (
        "\\N",
        "\\N",
        "1.5",
    )


def test_teams_are_groups_of_their_own(store: Store) -> None:
    events = [tool(DAY, member, "Bash", team) for member, team in ((1, "red"), (2, "red"))]
    stored(store, [*events, *(tool(DAY, member, "Bash", "blue") for member in (3, 4, 5))])
    assert [(row["team"], row["calls"]) for row in shown(store, "tools_daily")] == [("blue", "3")]


def test_an_error_that_few_met_has_no_text(store: Store) -> None:
    rare = [tool(DAY, member, "Bash", error=f"rare {member}") for member in (1, 2, 3)]
    common = [tool(DAY, member, "Bash", error="common") for member in (1, 2, 3)]
    stored(store, [*rare, *common])
    found = {row["error"]: float(row["errors"]) for row in shown(store, "errors_daily")}
    assert found == {"common": 3, UNDER: 3}
    assert {row["last_ts"] for row in shown(store, "errors_daily")} == {f"{DAY} 00:00:00.000"}


def test_an_hour_that_few_worked_in_is_no_hour(store: Store) -> None:
    early = [tool(DAY, member, "Bash") for member in (1, 2, 3)]
    late = [tool(DAY, member, "Bash", ts=f"{DAY} 23:10:00.000") for member in (1, 2, 3)]
    lone = [tool(DAY, 1, "Bash", ts=f"{DAY} 03:10:00.000")]
    stored(store, [*early, *late])
    assert len({row["hour"] for row in shown(store, "activity_hourly")}) == 2
    stored(store, lone)
    assert [row["hour"] for row in shown(store, "activity_hourly")] == ["\\N"]


def test_a_duration_of_one_is_within_those_of_others(store: Store) -> None:
    usual = [tool(DAY, member, "Bash", duration_ms=1000 + member) for member in (1, 2, 3)]
    stored(store, [*usual, tool(DAY, 1, "Bash", duration_ms=600_000)])
    [row] = shown(store, "durations_daily")
    assert (row["events"], row["about_ms"]) == ("4", str(round((3006 + 600_000) / 4)))


def test_what_people_decided_is_shown_where_enough_did(store: Store) -> None:
    decision: dict[str, Any] = {
        "event": "tool_decision",
        "event_type": "validation_result",
        "decision_source": "user_temporary",
        "success": None,
    }
    events = [tool(DAY, n, "Bash", decision="accept", **decision) for n in (1, 2, 3)]
    events += [tool(DAY, n, "Bash", decision="reject", **decision) for n in (1, 2, 4)]
    stored(store, events)
    found = {row["outcome"]: row["weight"] for row in shown(store, "validations")}
    assert found == {"approved": "3", "rejected": "3"}
    stored(store, [tool(DAY, 1, "Edit", decision="reject", **decision)])
    assert {row["tool_name"] for row in shown(store, "validations")} == {UNDER}


def test_time_of_work_is_the_teams(store: Store) -> None:
    point = {"metric": "claude_code.active_time.total", "value": 60, "temporality": "delta"}
    ids = [login(member).id for member in (1, 2, 3)]
    for number, member in enumerate(ids):
        extra = {"member": member, "session_id": f"session-{number + 1}", "record_hash": number}
        store.insert(names.METRIC_POINTS, [{"ts": f"{DAY} 10:00:00.000", **point, **extra}])
    stored(store, [tool(DAY, member, "Bash") for member in (1, 2)])
    assert shown(store, "active_daily") == [], "of the third no team is known"
    stored(store, [tool(DAY, 3, "Bash")])
    [row] = shown(store, "active_daily")
    assert (row["team"], row["active_s"], row["session_id"]) == ("red", "180", "")


def test_days_whose_events_are_gone_are_shown_by_the_number_of_members(store: Store) -> None:
    long_ago = date(2025, 5, 5)
    kept = {"team": "red", "sessions": 1, "prompts": 5, "cost_usd": "2", "requests": 1}
    rows = [(long_ago, "one", 3), (long_ago + timedelta(1), "one", 3), (long_ago, "two", 1)]
    store.insert(
        names.DAILY_METRICS_KEPT,
        [
            {"day": day, "chapter": chapter, "members": members, "version": 1, **kept}
            for day, chapter, members in rows
        ],
    )
    store.refresh()
    found = [
        (row["day"], row["chapter"], row["prompts"], row["cost_usd"])
        for row in shown(store, "daily_metrics")
    ]
    assert sorted(found) == [
        (str(long_ago), UNDER, "10", "\\N"),
        (str(long_ago), "one", "\\N", "2"),
        (str(long_ago), "two", "\\N", "2"),
        (str(long_ago + timedelta(1)), "one", "5", "2"),
    ]


# --- any shape: whoever stands behind a row that is shown, counted from the events

BEHIND: dict[str, tuple[str, ...]] = {
    "tools_daily": ("tool_name",),
    "errors_daily": ("event", "tool_name", "error_type", "error"),
    "activity_hourly": ("hour",),
    "daily_metrics": ("chapter",),
}


def counts(table: str, event: Event) -> bool:
    """Whether a table is made of such events."""
    if table == "tools_daily":
        return bool(event["event"] == "tool_result")
    return table != "errors_daily" or event["success"] is False


def key(table: str, event: Event) -> tuple[str, ...]:
    values = {**event, "hour": f"{str(event['ts'])[:13]}:00:00"}
    return tuple(str(values[column]) for column in BEHIND[table])


def made_up(dice: random.Random) -> list[Event]:
    members = dice.randint(1, 7)
    kinds = dice.randint(1, 4)
    found = []
    for _ in range(dice.randint(1, 40)):
        day, who = DAY + timedelta(dice.randint(0, 1)), dice.randint(1, members)
        event = (
            tool(day, who, f"Tool{dice.randint(1, kinds)}", dice.choice(("red", "blue")))
            if dice.random() < 0.7
            else request(day, who, f"0.{dice.randint(1, 999_999):06}")
        )
        event["chapter"] = f"ch{dice.randint(1, kinds)}"
        event["ts"] = f"{day} {dice.randint(8, 8 + kinds):02}{str(event['ts'])[13:]}"
        if event["success"] is False:
            event["error"] = f"error {dice.randint(1, kinds)}"
        found.append(event)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_enough_members_stand_behind_every_row_whatever_was_done(store: Store, seed: int) -> None:
    events = made_up(random.Random(seed))
    stored(store, events)
    for table in BEHIND:
        behind: dict[tuple[str, ...], set[str]] = defaultdict(set)
        everybody: dict[tuple[str, str], set[str]] = defaultdict(set)
        for event in events:
            if counts(table, event):
                group = (str(event["ts"])[:10], str(event["team"]))
                behind[(*group, *key(table, event))].add(str(event["member"]))
                everybody[group].add(str(event["member"]))
        rows = [row for row in shown(store, table) if not costs_only(table, row)]
        named = {
            (row["day"], row["team"], *(row[column] for column in BEHIND[table]))
            for row in rows
            if UNDER not in row.values() and row.get("hour") != "\\N"
        }
        for each in named:
            assert len(behind[each]) >= FLOOR, (table, each)
        for group in {(row["day"], row["team"]) for row in rows}:
            assert len(everybody[group]) >= FLOOR, (table, group)
            rest = [
                who
                for place, who in behind.items()
                if place[:2] == group and place not in named and not partly(table, place, rows)
            ]
            assert not rest or len(set().union(*rest)) >= FLOOR, (table, group)


_DONE = {"daily_metrics": "prompts", "activity_hourly": "events"}


def costs_only(table: str, row: Row) -> bool:
    """Whether a row shows what was paid, and not what was done."""
    return table in _DONE and row[_DONE[table]] == "\\N"


def partly(table: str, place: tuple[str, ...], rows: list[Row]) -> bool:
    """Whether a group is shown with its texts folded."""
    return table == "errors_daily" and any(
        (row["day"], row["team"], row["event"], row["tool_name"]) == place[:4] for row in rows
    )


@pytest.mark.parametrize("seed", range(12))
def test_the_sum_is_the_bill_whatever_was_done(store: Store, seed: int) -> None:
    events = made_up(random.Random(seed))
    stored(store, events)
    bill = sum((Decimal(str(event.get("cost_usd") or 0)) for event in events), Decimal(0))
    for table in ("usage_daily", "sessions_daily", "daily_metrics", "activity_hourly"):
        costs = [row["cost_usd"] for row in shown(store, table) if row["cost_usd"] != "\\N"]
        assert sum(map(Decimal, costs), Decimal(0)) == bill, table


def test_no_id_of_anything_but_members_is_there(store: Store) -> None:
    events = [request(DAY, member, "1", request_id="req-1") for member in (1, 2, 3)]
    stored(store, [*events, *(tool(DAY, member, "Bash", prompt_id="p-1") for member in (1, 2, 3))])
    for table in (*names.TEAM_TABLES, "sessions_daily"):
        text = store.ask(COORDINATOR.id, f"SELECT * FROM {table}").text
        assert not any(each in text for each in ("session-", "req-1", "p-1")), table
        if table not in ("usage_daily", "sessions_daily"):
            assert "m-00" not in text, table


ANSWERED = {
    "activity-by-hour",
    "approvals",
    "budget",
    "cache",
    "cost-by-branch",
    "cost-by-chapter",
    "cost-by-day",
    "cost-by-member",
    "cost-by-model",
    "cost-check",
    "daily-metrics",
    "failing-tools",
    "model-mix",
    "slow-requests",
    "slow-tools",
    "subagents",
    "token-efficiency",
    "top-errors",
}
"""Shipped questions that a coordinator can ask as they are (docs/DATA-MODEL.md)."""


@pytest.mark.parametrize("name", queries.shipped())
def test_a_coordinator_asks_the_shipped_questions(store: Store, name: str) -> None:
    asked = queries.shipped()[name]
    given = {f"param_{each.name}": each.default or "" for each in asked.parameters}
    answer = store.ask(COORDINATOR.id, asked.sql, url=given)
    assert (answer.code == 0) == (name in ANSWERED), answer.text
    if answer.code:
        assert answer.code in (47, 60), "no such column, no such table"


def test_the_floor_is_a_setting(store: Store) -> None:
    from scripts import warehouse

    stored(store, [tool(DAY, member, "Bash") for member in (1, 2, 3)])
    client = warehouse.as_admin(store.settings, store.secrets)
    for floor, there in ((4, {}), (FLOOR, {"Bash": 3.0})):
        changed = store.settings.model_copy(
            update={"privacy": store.settings.privacy.model_copy(update={"cohort_floor": floor})}
        )
        warehouse.write_standing_views(client, changed)
        store.refresh()
        assert tools(store) == there
    client.close_connections()
