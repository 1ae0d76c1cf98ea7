"""Every shipped question, on an empty store and on the recorded requests."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from scripts import queries, query
from scripts.errors import Misuse
from stacks.home import PROJECT
from tests import recorded
from tests.conftest import Stack, until
from tests.queries import oracle
from tests.recorded import Recorded

pytestmark = pytest.mark.stack

SHIPPED = queries.shipped()
LARGE = {"limit": "100000"}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("empty"))
    made.ok("up")
    yield made
    made.down()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("full"))
    made.ok("up")
    yield made
    made.down()


@pytest.fixture(scope="module")
def sent(full: Stack) -> list[Recorded]:
    """All recorded logs and metrics, sent twice and in any order: it must make no difference."""
    found = recorded.shifted(
        [each for each in recorded.requests() if each.signal in ("logs", "metrics")]
    )
    twice = [*found, *found]
    random.Random(20261124).shuffle(twice)
    for request in twice:
        assert full.post(request.signal, json.dumps(request.body).encode()) == 200
    until(lambda: full.metric("otelcol_exporter_queue_size") == 0)
    total = len(oracle.events(found))
    until(lambda: full.member("SELECT count() FROM telemetry_events") == [(total,)])
    return found


def answer(stack: Stack, name: str, **given: str) -> list[dict[str, Any]]:
    """Rows of a shipped question, asked as the member; no limit where there is one."""
    shipped = SHIPPED[name]
    known = {each.name for each in shipped.parameters}
    arguments = shipped.arguments(
        {**{key: value for key, value in LARGE.items() if key in known}, **given}
    )
    columns, rows = query.ask(stack.as_member, shipped.sql, arguments)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def comparable(value: Any) -> Any:
    """Numbers of any kind alike, days as text."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return round(Decimal(str(value)), 9)
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    return value


def rows(found: list[dict[str, Any]], columns: list[str]) -> list[dict[str, Any]]:
    shown = [{name: comparable(row[name]) for name in columns} for row in found]
    return sorted(shown, key=lambda row: str(sorted(row.items(), key=lambda item: item[0])))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_question_about_nothing_has_an_answer(empty: Stack, name: str) -> None:
    given = {each.name: "x" for each in SHIPPED[name].parameters if each.default is None}
    found = answer(empty, name, **given)
    assert found == [] or name in ("budget", "week-over-week"), "nothing is known of nothing"


@pytest.mark.parametrize("name", oracle.ANSWERS)
def test_an_answer_is_what_the_recorded_requests_say(
    full: Stack, sent: list[Recorded], name: str
) -> None:
    expected = oracle.ANSWERS[name](oracle.events(sent))
    found = answer(full, name)
    columns = list(expected[0]) if expected else []
    if name in ("cost-by-branch", "cost-by-day"):
        columns.remove("share")
    assert rows(found, columns) == rows(expected, columns)


def test_the_rest_of_the_answers(full: Stack, sent: list[Recorded]) -> None:
    events = oracle.events(sent)
    whole = oracle.cost(events)
    [member] = answer(full, "cost-by-member")
    assert (member["member"], member["cost_usd"]) == (full.home.secrets().member, whole)
    [budget] = answer(full, "budget")
    this_month = datetime.now().strftime("%Y-%m")
    spent = oracle.cost([e for e in events if e.day.startswith(this_month)])
    assert budget["spent_usd"] == (spent or 0)
    week = {row["figure"]: row["this_week"] for row in answer(full, "week-over-week")}
    assert week["requests"] == len(oracle.of(events, "api_request"))
    assert week["cost_usd"] == pytest.approx(float(whole or 0))
    mix = answer(full, "model-mix")
    assert sum(row["cost_usd"] for row in mix) == whole
    errors = answer(full, "top-errors")
    reported = [e for e in events if e.name in ("api_error", "api_refusal", "internal_error")]
    failed = [e for e in events if e.failed and e.name not in ("api_error", "api_refusal")]
    assert sum(row["times"] for row in errors) == len(reported) + len(failed)


def test_one_session_is_told_step_by_step(full: Stack, sent: list[Recorded]) -> None:
    sessions = oracle.sessions_that_worked(oracle.events(sent))
    session, events = max(sessions.items(), key=lambda item: len(item[1]))
    found = answer(full, "session-timeline", session=session)
    assert sorted(row["event"] for row in found) == sorted(event.name for event in events)
    assert [row["ts"] for row in found] == sorted(row["ts"] for row in found)
    assert sum(row["cost_usd"] or 0 for row in found) == (oracle.cost(events) or 0)


@pytest.mark.usefixtures("sent")
def test_costs_agree_with_the_prices_but_where_a_client_had_others(full: Stack) -> None:
    remarks = {(row["model"], row["speed"]): row["remark"] for row in answer(full, "cost-check")}
    # 2.1.42 took Sonnet 4.5 for a model it did not know, 2.1.200 had an older price of Sonnet 5.
    assert {key for key, remark in remarks.items() if remark} == {
        ("claude-sonnet-4-5-20250929", "normal"),
        ("claude-sonnet-5", "normal"),
    }
    assert set(remarks.values()) == {"", "differs"}


@pytest.mark.usefixtures("sent")
def test_what_a_version_cannot_report_is_told(full: Stack) -> None:
    lacks = {row["client_version"]: row["cannot_report"] for row in answer(full, "client-versions")}
    assert lacks["2.1.330"] == []
    assert any("event.sequence" in each for each in lacks["2.0.1"])
    assert not any("event.sequence" in each for each in lacks["2.1.42"])
    assert len(lacks["2.0.1"]) > len(lacks["2.1.163"]) > len(lacks["2.1.281"]) > 0


@pytest.mark.usefixtures("sent")
def test_a_model_without_a_price_is_unknown_and_not_free(full: Stack) -> None:
    admin_insert(full, model="claude-nobody-1", cost=1)
    until(lambda: any(row["model"] == "claude-nobody-1" for row in answer(full, "cost-check")))
    [row] = [row for row in answer(full, "cost-check") if row["model"] == "claude-nobody-1"]
    assert (row["recomputed_usd"], row["remark"]) == (None, "no price")
    [row] = [row for row in answer(full, "cache") if row["model"] == "claude-nobody-1"]
    assert row["missed_usd"] is None
    full.admin("DELETE FROM telemetry.telemetry_events WHERE model = 'claude-nobody-1'")


def admin_insert(stack: Stack, *, model: str, cost: int) -> None:
    """One request through the landing table."""
    stack.admin(
        "INSERT INTO telemetry.otel_logs_in (Timestamp, ResourceAttributes, LogAttributes) SELECT "
        "now64(9), map('member', {member:String}), map('event.name', 'api_request', 'session.id', "
        "'s', 'event.sequence', '1', 'model', {model:String}, 'cost_usd', {cost:String}, "
        "'input_tokens', '5', 'output_tokens', '5', 'cache_read_tokens', '5', "
        "'cache_creation_tokens', '5')",
        member=stack.home.secrets().member,
        model=model,
        cost=str(cost),
    )


@pytest.mark.usefixtures("sent")
def test_the_examples_with_curl_run_without_a_password_on_a_command_line(full: Stack) -> None:
    done = subprocess.run(
        [PROJECT / "queries" / "examples.sh"],
        env={
            **os.environ,
            "TELEMETRY_HOME": str(full.home.path),
            "CLICKHOUSE_URL": f"http://127.0.0.1:{full.settings.ports.clickhouse_http}",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    for name, shipped in SHIPPED.items():
        assert f"== {name}: {shipped.question}" in done.stdout


def test_a_label_moves_the_cost_of_a_session_and_can_be_taken_back(
    full: Stack, sent: list[Recorded]
) -> None:
    sessions = oracle.sessions_that_worked(oracle.events(sent))
    session, events = next((s, e) for s, e in sessions.items() if oracle.cost(e))
    before = answer(full, "cost-by-chapter")
    assert "Labelled to ch99" in full.ok("label", session, "--chapter", "ch99")
    moved = {row["chapter_shown"]: row["cost_usd"] for row in answer(full, "cost-by-chapter")}
    assert moved["ch99"] == oracle.cost(events)
    assert sum(moved.values()) == sum(row["cost_usd"] for row in before)
    full.ok("label", session, "--chapter", "")
    assert answer(full, "cost-by-chapter") == before
    refused = full.run("label", "no-such-session", "--chapter", "ch01")
    assert refused.returncode == 1
    assert "telemetry query sessions" in refused.stderr


def test_a_question_is_asked_by_name_and_a_slip_is_explained(empty: Stack) -> None:
    listed = json.loads(empty.ok("query", "--list", "--json"))
    assert {row["name"] for row in listed} == set(SHIPPED)
    assert json.loads(empty.ok("query", "cost-by-day", "--json")) == []
    for words, said in (
        (["cost-by-dya"], "Do you mean cost-by-day"),
        (["cost-by-day", "--param", "dayz=3"], "it has: days"),
        (["session-timeline"], "needs --param session="),
        ([], "Give a name"),
    ):
        done = empty.run("query", *words)
        assert done.returncode == 2
        assert said in done.stderr


def test_every_parameter_is_declared_and_used() -> None:
    for shipped in SHIPPED.values():
        used = set(re.findall(r"\{(\w+):(\w+)\}", shipped.sql))
        assert used == {(each.name, each.type) for each in shipped.parameters}, shipped.name
    with pytest.raises(Misuse):
        queries.named("nothing")
