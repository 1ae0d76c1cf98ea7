"""Metrics in a real Prometheus: every question of queries/promql, and what may go wrong on the way.

The recorded requests go in; the answers must be what their numbers add up to.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import urllib3

from stacks.home import PROJECT
from tests import recorded
from tests.conftest import Stack, free_ports, until
from tests.recorded import Recorded

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("_prometheus")]

QUESTIONS = sorted((PROJECT / "queries" / "promql").glob("*.promql"))
CUMULATIVE = "34-cumulative"
LAST_WEEK = "2.0.65"
_METRICS = (
    "session.count",
    "token.usage",
    "cost.usage",
    "active_time.total",
    "lines_of_code.count",
    "code_edit_tool.decision",
    "commit.count",
)
_WEEK_NS = 7 * 24 * 3600 * 10**9

Answer = dict[tuple[str, ...], float]


def ask(stack: Stack, query: str) -> list[dict[str, Any]]:
    """An instant query's result."""
    reply = urllib3.request(
        "POST",
        f"http://127.0.0.1:{stack.settings.ports.prometheus}/api/v1/query",
        fields={"query": query},
        timeout=30,
    ).json()
    assert reply["status"] == "success", reply
    found: list[dict[str, Any]] = reply["data"]["result"]
    return found


def answer(stack: Stack, query: str, labels: tuple[str, ...] = ()) -> Answer:
    """The same by the values of these labels, and no other."""
    found = ask(stack, query)
    assert {name for each in found for name in each["metric"]} <= set(labels)
    return {
        tuple(each["metric"].get(name, "") for name in labels): float(each["value"][1])
        for each in found
    }


def samples(requests: list[Recorded]) -> Iterator[tuple[str, dict[str, Any], float]]:
    """What was counted: metric, labels, number. Of a cumulative series its last value."""
    last: dict[tuple[str, str], tuple[str, dict[str, Any], float]] = {}
    for request in requests:
        for name, point, attributes, resource in recorded.points(request):
            labels = {**resource, **attributes}
            value = float(point.get("asDouble", point.get("asInt", 0)))
            if CUMULATIVE in request.run:
                last[name, json.dumps(attributes, sort_keys=True)] = (name, labels, value)
            else:
                yield name, labels, value
    yield from last.values()


class Counted:
    """The tests' own arithmetic over what was sent."""

    def __init__(self, member: str, now: list[Recorded], before: list[Recorded]) -> None:
        self._member = member
        self._now, self._before = list(samples(now)), list(samples(before))

    def total(self, metric: str, *by: str, kinds: str = "", week_before: bool = False) -> Answer:
        """Sum of a metric by labels, of some kinds (`type`) alone."""
        found: Answer = {}
        for name, labels, value in self._before if week_before else self._now:
            stamped = {**labels, "member": self._member}
            if name == f"claude_code.{metric}" and (not kinds or labels["type"] in kinds.split()):
                key = tuple(stamped.get(label, "") for label in by)
                found[key] = found.get(key, 0) + value
        return dict(found)

    def of_all(self, metric: str, **options: Any) -> float:
        """One number."""
        return self.total(metric, **options)[()]


EXPECTED: dict[str, tuple[tuple[str, ...], Callable[[Counted], Answer]]] = {
    "active_time": (
        ("member", "type"),
        lambda c: {
            key: value / 3600
            for key, value in c.total("active_time.total", "member", "type").items()
        },
    ),
    "cache_hit_rate": (
        (),
        lambda c: {
            (): c.of_all("token.usage", kinds="cacheRead")
            / c.of_all("token.usage", kinds="input cacheRead cacheCreation")
        },
    ),
    "commits": (("member",), lambda c: c.total("commit.count", "member")),
    "cost": ((), lambda c: c.total("cost.usage")),
    "cost_by_chapter": (("chapter",), lambda c: c.total("cost.usage", "chapter")),
    "cost_by_member": (("member",), lambda c: c.total("cost.usage", "member")),
    "cost_by_model": (("model",), lambda c: c.total("cost.usage", "model")),
    "cost_week_over_week": (
        (),
        lambda c: {
            (): c.of_all("cost.usage") / c.of_all("cost.usage", week_before=True) - 1,
        },
    ),
    "edit_decisions": (
        ("tool_name", "decision"),
        lambda c: c.total("code_edit_tool.decision", "tool_name", "decision"),
    ),
    "lines_of_code": (
        ("chapter", "type"),
        lambda c: c.total("lines_of_code.count", "chapter", "type"),
    ),
    "sessions": (("start_type",), lambda c: c.total("session.count", "start_type")),
    "tokens_by_type": (("type",), lambda c: c.total("token.usage", "type")),
}


def send(stack: Stack, requests: list[Recorded]) -> None:
    for request in requests:
        assert stack.post("metrics", json.dumps(request.body).encode()) == 200


def total(stack: Stack) -> float:
    """Everything there is, added up: a number that tells when it is all there."""
    sums = (
        f"(sum(sum_over_time(claude_code_{name.replace('.', '_')}[30d])) or vector(0))"
        for name in _METRICS
    )
    return answer(stack, " + ".join(sums))[()]


def added_up(requests: list[Recorded]) -> float:
    """The same number for what was sent."""
    return sum(value for _, _, value in samples(requests))


def becomes(stack: Stack, number: float) -> None:
    """Wait until that is the total."""
    # Millions of tokens beside fractions of a second: the tolerance must not hide the latter.
    until(lambda: total(stack) == pytest.approx(number, rel=1e-11))


def kill_collector(stack: Stack) -> None:
    """With no time to hand anything over; supervisord starts another."""
    guard = stack.pid("collector")
    for process in psutil.Process(guard).children():
        process.kill()
    until(lambda: stack.pid("collector") not in (0, guard))
    until(lambda: stack.run("up").returncode == 0)


def moved(requests: list[Recorded], by: int) -> list[Recorded]:
    """The same with all times moved."""

    def move(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: str(int(value) + by) if key.endswith("UnixNano") else move(value)
                for key, value in node.items()
            }
        return [move(each) for each in node] if isinstance(node, list) else node

    return [Recorded(each.run, each.name, each.signal, move(each.body)) for each in requests]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that writes to both, and in which nothing is but what is sent here."""
    made = Stack(tmp_path_factory.mktemp("promql"), backend="both")
    made.ok("up")
    yield made
    made.down()


@pytest.fixture(scope="module")
def counted(stack: Stack) -> Counted:
    """All recorded metrics, sent once: some of last week, the others now.

    The collector is killed half way. What it had handed over is counted once, what comes is not
    counted from anew: it remembers nothing of a client that sends deltas.
    """
    before = moved(recorded.shifted(list(recorded.requests("metrics", LAST_WEEK))), -_WEEK_NS)
    everything = list(recorded.requests("metrics"))
    deltas = recorded.shifted([each for each in everything if CUMULATIVE not in each.run])
    send(stack, before)
    becomes(stack, added_up(before))
    send(stack, deltas[:60])
    becomes(stack, added_up(before + deltas[:60]))
    kill_collector(stack)
    send(stack, deltas[60:])
    # Of a series that began before the collector, the first value would be but a start.
    cumulative = recorded.shifted([each for each in everything if CUMULATIVE in each.run])
    send(stack, cumulative)
    assert len(deltas) > 100
    assert len(cumulative) > 3
    becomes(stack, added_up(before + deltas + cumulative))
    return Counted(stack.home.secrets().member, deltas + cumulative, before)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda path: path.stem)
def test_an_answer_is_what_was_sent_added_up(
    stack: Stack, counted: Counted, question: Path
) -> None:
    labels, expected = EXPECTED[question.stem]
    wanted = expected(counted)
    assert any(wanted.values()), "the recordings hold none of it"
    assert answer(stack, question.read_text(), labels) == pytest.approx(wanted)


def test_every_question_is_tried_and_says_what_it_answers() -> None:
    assert {path.stem for path in QUESTIONS} == set(EXPECTED)
    for path in QUESTIONS:
        first = path.read_text().splitlines()[0]
        assert first.startswith("# "), path.name
        assert "?" in first, path.name


@pytest.mark.usefixtures("counted")
def test_clickhouse_holds_the_same_points(stack: Stack) -> None:
    [(cost,)] = stack.member(
        "SELECT sum(value) FROM metric_points "
        "WHERE metric = 'claude_code.cost.usage' AND temporality = 'delta' AND ts > now() - 604800"
    )
    chosen = f'claude_code_cost_usage{{session_id="{session()}"}}'
    cumulative = answer(stack, f"sum(sum_over_time({chosen}[7d]))")
    whole = answer(stack, "sum(sum_over_time(claude_code_cost_usage[7d]))")
    assert whole[()] - cumulative[()] == pytest.approx(cost)


def session() -> str:
    """The session of the client that counts cumulatively."""
    [found] = {
        attributes["session.id"]
        for request in recorded.requests("metrics")
        if CUMULATIVE in request.run
        for _, _, attributes, _ in recorded.points(request)
    }
    return str(found)


@pytest.mark.usefixtures("counted")
def test_a_request_sent_again_counts_once(stack: Stack) -> None:
    held = total(stack)
    again = [each for each in recorded.requests("metrics") if "37-resume" in each.run]
    fresh = recorded.shifted(again)
    send(stack, fresh)
    becomes(stack, held + added_up(fresh))
    send(stack, fresh)
    # This one comes after them in the same queue: once it is there, they were dealt with.
    send(stack, moved(fresh[:1], 10**9))
    becomes(stack, held + added_up(fresh) + added_up(fresh[:1]))


@pytest.mark.usefixtures("counted")
def test_a_series_has_the_labels_that_matter_and_none_that_names_a_record(stack: Stack) -> None:
    found = ask(stack, 'last_over_time({__name__=~"claude_code_.+"}[7d])')
    names = {name for each in found for name in each["metric"]}
    matter = {"member", "team", "chapter", "git_branch", "service_version", "session_id", "model"}
    assert matter <= names
    assert not {name for name in names if "hash" in name or "prompt" in name or "user" in name}
    assert {each["metric"]["member"] for each in found} == {stack.home.secrets().member}
    dump = json.dumps(found)
    assert "jane.doe" not in dump
    sessions = {each["metric"].get("session_id", "") for each in found}
    assert len(found) / len(sessions) < 25, "what docs/PROMETHEUS.md says a session costs"


@pytest.mark.usefixtures("counted")
def test_a_self_test_and_what_was_set_aside_reach_no_sum(stack: Stack) -> None:
    held = total(stack)
    stack.ok("verify")
    [request] = recorded.shifted([next(recorded.requests("metrics", "2.1.330"))])
    send(stack, moved([request], -20 * 365 * 24 * 3600 * 10**9))
    send(stack, [request])  # behind both
    becomes(stack, held + added_up([request]))


def test_up_status_and_down_know_it_and_leave_it_alone(stack: Stack) -> None:
    pid = stack.pid("prometheus")
    assert pid
    assert "Nothing to change" in stack.ok("up")
    assert stack.pid("prometheus") == pid
    address = f"http://127.0.0.1:{stack.settings.ports.prometheus}"
    found = json.loads(stack.run("status", "--json").stdout)
    assert found["endpoints"]["prometheus"] == address
    assert found["samples_lost"] == 0
    assert f"Prometheus            {address}" in stack.run("status").stdout


def test_it_is_gone_when_no_longer_chosen_and_its_samples_are_there_when_chosen_again(
    own_stack: Stack,
) -> None:
    own_stack.change(backend="both")
    own_stack.ok("up")
    [request] = recorded.shifted([next(recorded.requests("metrics", "2.1.330"))])
    send(own_stack, [request])
    own_stack.ok("down")  # at once: what the collector still holds must not be lost
    own_stack.change(backend="clickhouse")
    own_stack.ok("up")
    assert "prometheus" not in own_stack.ok("status", "--json").replace("samples_lost", "")
    assert own_stack.pid("prometheus") == 0
    own_stack.change(backend="both")
    own_stack.ok("up")
    assert total(own_stack) == pytest.approx(added_up([request]))


class Silent:
    """Takes connections and never answers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/api/v1/write"

    def close(self) -> None:
        self._socket.close()


def closed() -> str:
    """An address where nobody listens."""
    return f"http://127.0.0.1:{free_ports(1)[0]}/api/v1/write"


def rows(stack: Stack, table: str) -> int:
    [(found,)] = stack.member(f"SELECT count() FROM {table}")
    return int(found)


def many(points: int) -> list[Recorded]:
    """Requests of 10,000 points each, every point another session's."""
    [request] = recorded.shifted([next(recorded.requests("metrics", "2.1.330"))])
    found = []
    for number in range(points // 10_000):
        body = json.loads(json.dumps(request.body))
        metric = body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]
        [point] = metric["sum"]["dataPoints"][:1]
        metric["sum"]["dataPoints"] = [
            {
                **point,
                "attributes": [
                    *(each for each in point["attributes"] if each["key"] != "session.id"),
                    {"key": "session.id", "value": {"stringValue": f"{number}-{index}"}},
                ],
            }
            for index in range(10_000)
        ]
        found.append(Recorded(request.run, request.name, request.signal, body))
    return found


@pytest.mark.parametrize("kind", ["silent", "closed"])
def test_a_prometheus_that_is_away_refuses_no_request_and_holds_up_no_row(
    own_stack: Stack, kind: str
) -> None:
    """Even when more waits for it than its queue holds."""
    silent = Silent()
    url = silent.url if kind == "silent" else closed()
    own_stack.change(backend="both", prometheus={"url": url})
    own_stack.ok("up")
    requests = many(70_000)
    send(own_stack, requests)
    until(lambda: rows(own_stack, "metric_points") >= 70_000)
    found = json.loads(own_stack.ok("status", "--json"))
    assert found["samples_lost"] > 0, "more came than the queue holds"
    assert found["refused_records"] == 0
    assert found["endpoints"]["prometheus"] == url
    silent.close()
    kill_collector(own_stack)  # it would try on for half a minute


def test_with_prometheus_alone_metrics_stay_out_of_clickhouse_and_events_go_in(
    own_stack: Stack,
) -> None:
    own_stack.change(backend="prometheus")
    own_stack.ok("up")
    metrics = [next(recorded.requests("metrics", "2.1.330"))]
    logs = [next(recorded.requests("logs", "2.1.330"))]
    now = recorded.shifted([*metrics, *logs])
    send(own_stack, now[:1])
    becomes(own_stack, added_up(now[:1]))
    assert own_stack.post("logs", json.dumps(now[1].body).encode()) == 200
    until(lambda: rows(own_stack, "telemetry_events") == sum(1 for _ in recorded.events(now[1])))
    assert rows(own_stack, "metric_points") == 0
