"""Valid OTLP that no client sends, clocks that jump: each record is stored or set aside, and none
stands in the way of the next."""

from __future__ import annotations

import json
import random
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tests import made
from tests.conftest import Stack, until
from tests.faults.common import status

pytestmark = pytest.mark.stack

SEED, ODD = 20261129, 300
DAY = 24 * 3600 * 10**9
EARLIEST = 1577836800 * 10**9
"""2020-01-01: what is older is set aside, whatever the retention."""
NOT_UTF8 = b"\xff\xfe\xc3\x28\xa0\xa1\xe2\x82"
STAND_IN = "notutf-8"
"""As long, since lengths stand before it."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("odd"))
    made.ok("up")
    yield made
    made.down()


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"stringValue": "bottom"}
    for number in range(levels):
        value = (
            {"arrayValue": {"values": [value]}}
            if number % 2
            else {"kvlistValue": {"values": [{"key": "k", "value": value}]}}
        )
    return value


VALUES: list[dict[str, Any]] = [
    *({"intValue": str(n)} for n in (0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63))),
    *({"doubleValue": n} for n in ("NaN", "Infinity", "-Infinity", 1e308, 5e-324, -0.0, 1e19)),
    *({"boolValue": n} for n in (True, False)),
    {"bytesValue": "/wD+"},
    {"arrayValue": {}},
    {"kvlistValue": {"values": [{"key": "", "value": {"stringValue": ""}}]}},
    {},
    deep(20),
    *(
        {"stringValue": text}
        for text in (
            "", " ", "\0", "a\0b", STAND_IN, "x" * 2**20, "é" * 9000, "🂡" * 5000, "-1", "1e999",
            "18446744073709551616", "99999999999999999999999999999999999999999.99", "1.5", "1,5",
            "0x10", "+7", "TRUE", "null", "nan", "inf", "1900-01-01", "2299-12-31T23:59:59Z",
            "١٢٣", "'; DROP TABLE telemetry_events; --", "\\N", "\t\n\r", "{}", "[",
            "%s", "${env:HOME}",
        )
    ),
]  # fmt: skip
KEYS = (
    "event.sequence", "prompt.id", "cost_usd", "cost_usd_micros", "input_tokens", "output_tokens",
    "cache_read_tokens", "duration_ms", "ttft_ms", "attempt", "status_code", "success", "error",
    "prompt_length", "tool_input_size_bytes", "model", "user.id", "user.email", "team", "weight",
    "decision", "source", "terminal.type", "telemetry.record_hash", "telemetry.dropped", "result",
    "", "\0", " ", "brand.new", "K" * 5000, STAND_IN,
)  # fmt: skip
NAMES = ("", "\0", "user_prompt", "Two Words", "x" * 2**16, "a.b.c.d.e.f.g.h.i", STAND_IN, "1")


NUMBERS: list[dict[str, Any]] = [
    *({"asInt": str(n)} for n in (2**63 - 1, -1)),
    *({"asDouble": n} for n in (1.5, "NaN", "Infinity", -1e308)),
    {},
]


def times(chance: random.Random) -> str:
    """Mostly now; else none, the first, the last, 1900 as a negative number, 2299, and about the
    bounds of what is taken."""
    now = time.time_ns()
    odd = [0, 1, 2**64 - 1, 2**64 - 2208988800 * 10**9, 10413792000 * 10**9, EARLIEST - 1]
    about = [now - 80 * DAY, now + 6 * DAY, now + 8 * DAY, now - 3650 * DAY]
    return str(chance.choice([now] * 20 + odd + about))


def odd_record(chance: random.Random) -> dict[str, Any]:
    chosen = {key: chance.choice(VALUES) for key in chance.sample(KEYS, chance.randint(1, 8))}
    if chance.random() < 0.2:
        chosen["event.name"] = {"stringValue": chance.choice(NAMES)}
    changes: dict[str, Any] = {"timeUnixNano": times(chance)}
    if chance.random() < 0.2:
        changes["body"] = chance.choice(VALUES)
    if chance.random() < 0.2:
        changes |= {"severityText": "\0", "severityNumber": 24, "flags": 2**32 - 1}
    return made.log(str(uuid.uuid4()), attributes=chosen, **changes)


def odd_metric(chance: random.Random) -> tuple[str, dict[str, Any]]:
    """Its session, and a metric with one point of it."""
    session = str(uuid.uuid4())
    value = {"key": chance.choice(KEYS), "value": chance.choice(VALUES)}
    point: dict[str, Any] = {
        "timeUnixNano": times(chance),
        "startTimeUnixNano": times(chance),
        "attributes": [{"key": "session.id", "value": {"stringValue": session}}, value],
    }
    kind = chance.choice(["sum", "sum", "sum", "gauge", "gauge", "histogram", "summary"])
    if kind in ("sum", "gauge"):
        point |= chance.choice(NUMBERS)
    else:
        point |= {"count": str(2**64 - 1), "sum": "NaN"}
    data: dict[str, Any] = {"dataPoints": [point]}
    if kind in ("sum", "histogram"):
        data |= {"aggregationTemporality": chance.choice([0, 1, 2])}
    name = chance.choice(["claude_code.test"] * 30 + list(NAMES))
    unit = chance.choice(["", "1", "USD", "\0", "x" * 1000])
    return session, {"name": name, "unit": unit, kind: data}


def deliver(stack: Stack, kind: str, body: dict[str, Any]) -> None:
    """Send it as protobuf, where a string may be anything."""
    made_of = {"logs": ExportLogsServiceRequest, "metrics": ExportMetricsServiceRequest}[kind]
    message = ParseDict(body, made_of()).SerializeToString()
    reply = urllib3.request(
        "POST",
        f"http://127.0.0.1:{stack.settings.ports.otlp_http}/v1/{kind}",
        body=message.replace(STAND_IN.encode(), NOT_UTF8),
        headers={"Content-Type": "application/x-protobuf"},
        timeout=60,
    )
    assert reply.status == 200, reply.data


def aside(stack: Stack) -> set[str]:
    """Sessions of records set aside."""
    text = "".join(f.read_text(errors="replace") for f in (stack.home.queue / "aside").glob("*"))
    return set(re.findall(r'"session.id","value":\{"stringValue":"([0-9a-f-]{36})"', text))


def test_each_odd_record_is_stored_or_set_aside_and_what_is_behind_it_is_stored(
    stack: Stack,
) -> None:
    chance = random.Random(SEED)
    good, odd = str(uuid.uuid4()), set[str]()
    for number in range(0, ODD, 10):
        records = [odd_record(chance) for _ in range(10)]
        odd |= {each["attributes"][0]["value"]["stringValue"] for each in records}
        records.append(made.log(good, attributes={"event.sequence": number}))
        deliver(stack, "logs", json.loads(made.request(*records)))
    points = [odd_metric(chance) for _ in range(ODD)]
    for number in range(0, ODD, 10):
        metrics = [metric for _, metric in points[number : number + 10]]
        scope = {"scope": {"name": "com.anthropic.claude_code"}, "metrics": metrics}
        deliver(stack, "metrics", {"resourceMetrics": [{"resource": {}, "scopeMetrics": [scope]}]})

    def rows(table: str) -> dict[str, int]:
        found = stack.member(f"SELECT session_id, count() FROM {table} GROUP BY 1")
        return {session: number for session, number in found}  # noqa: C416 (typed loosely)

    until(lambda: rows("telemetry_events").get(good) == ODD // 10, 60)
    until(lambda: stack.metric("otelcol_exporter_queue_size") == 0)
    for table, sent in (("telemetry_events", odd), ("metric_points", {each for each, _ in points})):
        stored = {session: n for session, n in rows(table).items() if session in sent}
        set_aside = aside(stack) & sent
        assert set(stored.values()) == {1}
        assert stored.keys() & set_aside == set()
        assert sent - stored.keys() - set_aside == set(), "neither here nor there"
        assert len(stored) > ODD // 3
        assert len(set_aside) > 10
    found = status(stack)
    assert found["set_aside_records"] == len(aside(stack))
    assert any("were set aside, the last one 0 hours ago" in text for text in found["problems"])


def at(session: str, numbers: range, ago_s: float) -> list[dict[str, Any]]:
    """Events of a session, one a second, the first so many seconds ago."""
    return [
        made.log(
            session,
            timeUnixNano=str(time.time_ns() + int((number - numbers.start - ago_s) * 10**9)),
            attributes={"event.sequence": number},
        )
        for number in numbers
    ]


@pytest.mark.parametrize(
    "ago_s",
    [
        # At times of their own: the numbers of another session could fill a gap.
        (7200, 10800),
        (20000, 15000),
        (30000, 25000, 29900),
        (40000, 130000, 39900),
        (50000, -7200, 49900),
    ],
    ids=["set back", "set forward", "forward and back", "back and forward", "ahead, mended"],
)
def test_a_session_in_which_the_clock_jumps_loses_nothing_and_looks_whole(
    stack: Stack, ago_s: tuple[int, ...]
) -> None:
    session = str(uuid.uuid4())
    for place, ago in enumerate(ago_s):
        records = at(session, range(20 * place, 20 * place + 20), ago)
        deliver(stack, "logs", json.loads(made.request(*records)))
    query = "SELECT count(), uniqExact(seq) FROM telemetry_events WHERE session_id = {s:String}"
    sent = 20 * len(ago_s)
    until(lambda: stack.member(query, s=session) == [(sent, sent)])
    gaps = json.loads(stack.ok("query", "gaps", "--json", "--param", "limit=1000"))
    assert session not in {row["session_id"] for row in gaps}


def test_a_loss_is_told_although_the_clock_jumped(stack: Stack) -> None:
    session = str(uuid.uuid4())
    for numbers, ago in ((range(20), 60000), (range(20, 40), 55000), (range(45, 60), 59900)):
        deliver(stack, "logs", json.loads(made.request(*at(session, numbers, ago))))
    query = "SELECT count() FROM telemetry_events WHERE session_id = {s:String}"
    until(lambda: stack.member(query, s=session) == [(55,)])
    gaps = json.loads(stack.ok("query", "gaps", "--json", "--param", "limit=1000"))
    assert [row["missing_events"] for row in gaps if row["session_id"] == session] == [5]


def test_a_record_older_than_the_retention_goes_and_one_too_far_ahead_is_set_aside(
    stack: Stack,
) -> None:
    """Neither keeps the others of its request."""
    old, ahead, near, now = (str(uuid.uuid4()) for _ in range(4))
    days = stack.settings.retention.events_days
    records = [
        *at(old, range(1), (days + 10) * 86400),
        *at(ahead, range(1), -8 * 86400),
        *at(near, range(1), -6 * 86400),
        *at(now, range(1), 0),
    ]
    deliver(stack, "logs", json.loads(made.request(*records)))

    def stored() -> set[str]:
        sessions = f"('{old}', '{ahead}', '{near}', '{now}')"
        rows = stack.member(
            f"SELECT session_id FROM telemetry_events WHERE session_id IN {sessions}"
        )
        return {session for (session,) in rows}

    until(lambda: stored() >= {near, now})
    until(lambda: ahead in aside(stack))
    stack.admin("OPTIMIZE TABLE telemetry.telemetry_events FINAL")
    until(lambda: stored() == {near, now})
    assert old not in aside(stack)
