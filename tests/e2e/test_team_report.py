"""`telemetry report team` and `report month` of a store that people share: figures against what was
put in, the cohort floor, and who sees which team."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from infra.settings import Settings
from infra.warehouse import names
from scripts import report, toolchain, warehouse
from scripts.report_text import Across, Report, Section
from scripts.warehouse import Connect
from tests.e2e.test_floor import Event, request, tool
from tests.shared import PASSWORD, Store, login

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.stack

TODAY = datetime.now(UTC).date()
HOSTILE = "<script>alert(1)</script>`|"
ALL, OF_RED, ANNA = login(11, "coordinator"), login(12, "coordinator", "red"), login(1)


def earlier(months: int) -> date:
    """The 10th of a month, so many months ago."""
    count = TODAY.year * 12 + TODAY.month - 1 - months
    return date(count // 12, count % 12 + 1, 10)


MONTH, BEFORE = earlier(1), earlier(2)
COSTS = (
    # member, team, chapter, model, cost now, cost before
    (1, "red", "ch01", "claude-opus-5-5", "3.5", "1"),
    (2, "red", "ch01", "claude-opus-5-5", "1.25", "1"),
    (3, "red", HOSTILE, "claude-haiku-5-5", "0.5", ""),
    (4, "blue", "ch02", "claude-opus-5-5", "2", "6"),
    (5, "blue", "", "claude-haiku-5-5", "0.25", "0.25"),
    (6, "", "ch03", "claude-haiku-5-5", "", "1"),
)
SHARED, OF_TWO = "the disk is full", "nobody else met it"


def events() -> Iterator[Event]:
    for member, team, chapter, model, *costs in COSTS:
        for day, cost in zip((MONTH, BEFORE), costs, strict=True):
            given = {"chapter": chapter, "model": model, "output_tokens": 500}
            if cost:
                yield request(day, member, cost, team, **given, cache_read_tokens=30)
    for member in (1, 2, 3):
        yield tool(MONTH, member, "Bash", error=SHARED)
        yield tool(BEFORE, member, "Bash", error=SHARED)
        yield tool(MONTH, member, "Bash", error=SHARED)
    for member in (1, 2):
        yield tool(MONTH, member, "Edit", error=OF_TWO)
    # So that what is folded is of enough members too, and the others need not be.
    yield tool(MONTH, 3, "Read", error="another one")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    programs = toolchain.programs(Settings())
    logins = [ALL, OF_RED, ANNA]
    made = Store(tmp_path_factory.mktemp("team"), programs, logins, floor=3)
    made.start()
    made.insert(names.EVENTS, events())
    made.refresh()
    yield made
    made.stop()


def asking(store: Store, who: str, database: str) -> Connect:
    def connected() -> Client:
        port = store.settings.ports.clickhouse_http
        client = warehouse.quiet_client(
            host="127.0.0.1", port=port, username=who, password=PASSWORD
        )
        client.database = database
        return client

    return connected


def across(store: Store, who: str) -> Across:
    return report.ask_across(asking(store, who, names.TEAM_DATABASE), MONTH.replace(day=1))


def section(made: Report, name: str) -> Section:
    found = made.section(name)
    assert found is not None
    return found


@pytest.mark.parametrize(("name", "at"), [("teams", 1), ("chapters", 2), ("models", 3)])
def test_costs_are_those_that_were_put_in(store: Store, name: str, at: int) -> None:
    now: dict[str, Decimal] = defaultdict(Decimal)
    before: dict[str, Decimal] = defaultdict(Decimal)
    requests: dict[str, int] = defaultdict(int)
    for line in COSTS:
        of = str(line[at]) or "(none)"
        now[of] += Decimal(line[4] or 0)
        before[of] += Decimal(line[5] or 0)
        requests[of] += bool(line[4])
    found = {row["name"]: row for row in section(across(store, ALL.id), name).rows}
    assert set(found) == set(now)
    for of, row in found.items():
        assert Decimal(str(row["cost_usd"] or 0)) == now[of]
        assert Decimal(str(row["before_usd"] or 0)) == before[of]
        assert row["requests"] == requests[of]
        if before[of] and now[of]:
            assert row["change"] == pytest.approx(float(100 * (now[of] / before[of] - 1)), abs=0.06)
        if requests[of]:
            each = float(now[of]) / requests[of]
            assert row["usd_per_request"] == pytest.approx(each, abs=1e-6)
            assert row["usd_per_1000_output"] == pytest.approx(2 * each, abs=1e-6)
            assert row["cache_hit_rate"] == 75.0
    whole = sum(now.values())
    assert sum(row["share"] or 0 for row in found.values()) == pytest.approx(100, abs=0.2)
    assert whole == Decimal("7.5")


def test_a_failure_is_named_where_enough_met_it(store: Store) -> None:
    made = section(across(store, ALL.id), "failures")
    found = {row["error"]: row for row in made.rows}
    assert (found[SHARED]["times"], found[SHARED]["times_before"]) == (6, 3)
    assert (found[SHARED]["teams"], found[SHARED]["tool"]) == (1, "Bash")
    assert OF_TWO not in found
    folded = sum(row["times"] for row in made.rows if row["error"] == "(under floor)")
    assert folded == 3
    assert {row["floor"] for row in made.rows} == {3}


def test_a_coordinator_of_a_team_sees_that_team_and_no_sizes_of_others(store: Store) -> None:
    made = across(store, OF_RED.id)
    assert [row["name"] for row in section(made, "teams").rows] == ["red"]
    assert {row["name"] for row in section(made, "chapters").rows} == {"ch01", HOSTILE}
    asked = "SELECT count() FROM system.tables WHERE total_rows > 0"
    assert store.ask(OF_RED.id, asked).rows == [["0"]]
    assert store.ask(ALL.id, asked).rows != [["0"]], "there are some to be seen"


def test_what_changed_is_said_in_words(store: Store) -> None:
    made = across(store, ALL.id)
    assert section(made, "teams").words == (
        "Together 7.50 USD, -18.9 % against 9.25 USD the month before.",
        "Team `blue` cost 4.00 USD less: 2.25 USD.",
        "Team `red` cost 3.25 USD more: 5.25 USD.",
        "Team `(none)` cost nothing, after 1.00 USD.",
    )
    assert section(made, "chapters").words[1:3] == (
        "Chapter `ch02` cost 4.00 USD less: 2.00 USD.",
        "Chapter `ch01` cost 2.75 USD more: 4.75 USD.",
    )
    assert (
        "9 failures here; 3 failures of the same the month before."
        in section(made, "failures").words
    )


def test_each_section_has_a_chart_and_nothing_of_it_runs(store: Store) -> None:
    made = across(store, ALL.id)
    page = report.rendered(made, "html")
    assert page.count('<figure class="pairs">') == 4
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    text = report.rendered(made, "md")
    assert "█" in text
    assert text.count("\n## ") == 5
    data = json.loads(report.rendered(made, "json"))
    assert set(data["words"]) == set(data["sections"]) == {*report.TEAM_TITLES, "coverage"}
    assert report.rendered(made, "csv").startswith("section,name,figure,value\n")


def test_a_month_of_a_team_has_no_session_in_it(store: Store) -> None:
    connect = asking(store, ALL.id, names.TEAM_DATABASE)
    made = report.ask(connect, MONTH.replace(day=1), scope="team")
    assert {each.name for each in made.sections} == {
        name.replace("-", "_") for name in report.TITLES
    } - {"sessions", "without_chapter"}
    figures = {row["figure"]: row["this_month"] for row in section(made, "totals").rows}
    assert figures["cost_usd"] == 7.5
    assert "sessions" not in figures
    members = {row["member"]: row["cost_usd"] for row in section(made, "members").rows}
    assert members[ANNA.id] == 3.5
    assert "sessions" not in section(made, "members").columns
    assert "session-" not in report.rendered(made, "json")


def test_of_a_store_that_others_use_a_member_has_their_own_month(store: Store) -> None:
    connect = asking(store, ANNA.id, names.DATABASE)
    made = report.ask(connect, MONTH.replace(day=1), shared=True)
    figures: dict[str, Any] = {
        row["figure"]: row["this_month"] for row in section(made, "totals").rows
    }
    assert (figures["cost_usd"], figures["tool_calls"], figures["sessions"]) == (3.5, 3, 1)
    assert [row["member"] for row in section(made, "members").rows] == [ANNA.id]
    assert HOSTILE not in {row["chapter"] for row in section(made, "chapters").rows}
    assert section(made, "budget").rows[0]["spent_usd"] == 3.5


def test_a_month_without_events_says_so(store: Store) -> None:
    made = report.ask_across(asking(store, ALL.id, names.TEAM_DATABASE), date(2025, 1, 1))
    assert made.notes == ["No events are stored for 2025-01."]
    assert [each.name for each in made.sections] == ["coverage"]
