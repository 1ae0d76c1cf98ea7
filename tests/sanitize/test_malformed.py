"""OTLP that no client should send: answered, never stored raw, and the collector lives on."""

from __future__ import annotations

import base64
import itertools
import json
import random
import uuid
from typing import Any

import pytest
import urllib3
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from scripts.supervise import Supervisor
from stacks.embedded.processes import Layout
from tests import made
from tests.conftest import Stack, until
from tests.sanitize import planted, through

pytestmark = pytest.mark.stack

SECRET = "ghp_" + "Zq7" * 12
PROTOBUF = "application/x-protobuf"
# What may be answered: well, used wrongly, too large, too much. Never "try again", as it would be.
ANSWERS = {200, 400, 413, 415, 429}


def pid(stack: Stack) -> int:
    """Process id of the collector's guard, which ends with the collector."""
    return Supervisor(Layout(stack.home)).states()["collector"].pid


def post(stack: Stack, signal: str, body: bytes, kind: str = PROTOBUF) -> int:
    """The status; a connection that is closed is no answer."""
    reply = urllib3.request(
        "POST",
        f"http://127.0.0.1:{stack.settings.ports.otlp_http}/v1/{signal}",
        body=body,
        headers={"Content-Type": kind},
        timeout=120,
        retries=False,
    )
    return reply.status


def survives(stack: Stack, signal: str, body: bytes, kind: str = PROTOBUF) -> int:
    """Send it; the same collector must answer, and still take in what comes next."""
    before = pid(stack)
    status = post(stack, signal, body, kind)
    assert status in ANSWERS, status
    assert through.kept(stack, {"result": "still here"}) == {"result": "still here"}
    assert pid(stack) == before, "the collector died of it"
    return status


def logs(*attributes: KeyValue, time: int | None = None) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.time_unix_nano = int(through.log("", 0, {})["timeUnixNano"]) if time is None else time
    record.body.string_value = "claude_code.user_prompt"
    record.attributes.extend(attributes)
    return request


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def named(session: str, *more: KeyValue) -> ExportLogsServiceRequest:
    return logs(
        text("event.name", "user_prompt"), text("session.id", session),
        KeyValue(key="event.sequence", value=AnyValue(int_value=1)), *more,
    )  # fmt: skip


def nested(depth: int, kind: str) -> AnyValue:
    value = AnyValue(string_value=SECRET)
    for _ in range(depth):
        outer = AnyValue()
        if kind == "list":
            outer.array_value.values.append(value)
        else:
            outer.kvlist_value.values.append(KeyValue(key="k", value=value))
        value = outer
    return value


def delimited(field: int, content: bytes) -> bytes:
    """A protobuf field that holds a message, written by hand: libraries stop at a depth."""
    return _head(field, len(content)) + content


def _head(field: int, size: int) -> bytes:
    """What stands before a message of this size."""
    return bytes([field << 3 | 2]) + _varint(size)


def deep(depth: int) -> bytes:
    """A request whose one attribute is a list in a list in a list ..."""
    # Each level: AnyValue{array_value: ArrayValue{values: AnyValue}}. Lengths come first, so from
    # the inside out, in pieces, to take time in proportion.
    pieces: list[bytes] = [b"\x0a\x01x"]
    size = 3
    for _ in range(depth):
        for field in (1, 5):
            head = _head(field, size)
            pieces.append(head)
            size += len(head)
    value = b"".join(reversed(pieces))
    attribute = delimited(1, b"result") + delimited(2, value)
    record = delimited(6, attribute)
    return delimited(1, delimited(2, delimited(2, record)))


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


@pytest.mark.parametrize("kind", ["list", "map"])
def test_values_within_values_are_looked_into(stack: Stack, kind: str) -> None:
    session = str(uuid.uuid4())
    body = named(session, KeyValue(key="result", value=nested(25, kind))).SerializeToString()
    assert post(stack, "logs", body) == 200
    query = "SELECT extra['result'] FROM telemetry_events WHERE session_id = {s:String}"
    [(found,)] = until(lambda: stack.member(query, s=session))
    assert "[redacted:github-token]" in found
    assert SECRET not in found


@pytest.mark.parametrize("depth", [1_000, 9_000, 100_000])
def test_depth_does_not_kill_the_collector(stack: Stack, depth: int) -> None:
    body = deep(depth)
    survives(stack, "logs", body)


def test_broken_text_is_stored_without_its_secret(stack: Stack) -> None:
    """Bytes that are no UTF-8, around a secret."""
    session = str(uuid.uuid4())
    marked = named(session, text("result", f"A{SECRET}B")).SerializeToString()
    for broken in (b"\xff", b"\xc3", b"\x00", b"\xed\xa0\x80"):
        body = marked.replace(b"A" + SECRET.encode(), broken + SECRET.encode())
        body = body if len(body) == len(marked) else _lengthened(session, broken)
        survives(stack, "logs", body)
    assert planted.in_rows(stack, [SECRET]) == []
    assert planted.in_files(stack.home.path, [SECRET]) == []


def _lengthened(session: str, broken: bytes) -> bytes:
    """The same by hand, for pieces of more than one byte."""
    value = delimited(1, broken + SECRET.encode())
    attributes = [
        delimited(6, delimited(1, b"result") + delimited(2, value)),
        delimited(6, delimited(1, b"session.id") + delimited(2, delimited(1, session.encode()))),
    ]
    return delimited(1, delimited(2, delimited(2, b"".join(attributes))))


def test_ten_megabytes_in_one_value(stack: Stack) -> None:
    session = str(uuid.uuid4())
    big = f"{'x y ' * 1_250_000}{SECRET}{'z ' * 2_500_000}"
    body = named(session, text("result", big), text("prompt", big)).SerializeToString()
    assert survives(stack, "logs", body) in (200, 413)
    small = named(session, text("result", "x" * 15_000 + f" {SECRET}")).SerializeToString()
    survives(stack, "logs", small)
    assert planted.in_rows(stack, [SECRET]) == []
    assert planted.in_files(stack.home.path, [SECRET]) == []


NONE_OF_THEM = ["NaN", "Infinity", "-Infinity"]


def spoilt(session: str, number: int, key: str, value: Any, *, numbered: bool) -> dict[str, Any]:
    """A record with a value under a key, with or without a number of its own."""
    record = through.log(session, number, {})
    if key == "body":
        record["body"] = value
    else:
        record["attributes"].append({"key": key, "value": value})
    if not numbered:
        kept = [each for each in record["attributes"] if each["key"] != "event.sequence"]
        record["attributes"] = kept
    return record


@pytest.mark.parametrize("value", NONE_OF_THEM)
def test_numbers_that_are_none_stop_no_record(stack: Stack, value: str) -> None:
    """They cannot be written as JSON: the records are stored all the same, with those beside."""
    session = str(uuid.uuid4())
    number: dict[str, Any] = {"doubleValue": value}
    wrapped = [
        number,
        {"arrayValue": {"values": [number]}},
        {"kvlistValue": {"values": [{"key": "a", "value": number}]}},
    ]
    cases = itertools.product(("result", "user.email", "body", "unlisted"), wrapped, (True, False))
    records = [
        spoilt(session, count, key, each, numbered=numbered)
        for count, (key, each, numbered) in enumerate(cases)
    ]
    records.append(through.log(session, len(records), {}))
    assert survives(stack, "logs", made.request(*records), "application/json") == 200
    query = "SELECT count() FROM telemetry_events WHERE session_id = {s:String}"
    assert until(lambda: stack.member(query, s=session) == [(len(records),)])


def usage(session: str, *values: float) -> ExportMetricsServiceRequest:
    """A metric with a data point for each value."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add()
    metric.name = "claude_code.token.usage"
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    for value in values:
        point = metric.sum.data_points.add()
        point.as_double = value
        point.time_unix_nano = int(through.log("", 0, {})["timeUnixNano"])
        point.attributes.append(text("session.id", session))
    return request


def aside(stack: Stack) -> int:
    """Bytes set aside."""
    return sum(file.stat().st_size for file in Layout(stack.home).aside.glob("*"))


def points(stack: Stack, session: str) -> int:
    """Data points stored of a session."""
    query = "SELECT count() FROM metric_points WHERE session_id = {s:String}"
    [(count,)] = stack.member(query, s=session)
    return int(count)


@pytest.mark.parametrize("value", NONE_OF_THEM)
def test_a_point_that_is_no_number_goes_aside_alone(stack: Stack, value: str) -> None:
    session = str(uuid.uuid4())
    before = aside(stack)
    body = usage(session, 1, float(value), 2).SerializeToString()
    assert survives(stack, "metrics", body) == 200
    assert until(lambda: points(stack, session) == 2)
    assert until(lambda: aside(stack) > before)


def test_a_metric_without_a_type_stops_nothing(stack: Stack) -> None:
    """The exporter could never write it, and would try for ever, with all that waits behind it."""
    session = str(uuid.uuid4())
    request = usage(session, 1)
    request.resource_metrics[0].scope_metrics[0].metrics.add().name = "claude_code.nothing"
    assert survives(stack, "metrics", request.SerializeToString()) == 200
    assert until(lambda: points(stack, session) == 1)
    assert post(stack, "metrics", usage(session, 2).SerializeToString()) == 200
    assert until(lambda: points(stack, session) == 2)


def test_a_name_that_stands_twice_stands_once_when_stored(stack: Stack) -> None:
    """An accessor sees the first, the store would take the second."""
    session = str(uuid.uuid4())
    twice = {
        "user.email": ("jane@example.com", "jane at corp"),
        "error": ("short", 'it says "the murderer is the gardener" in /home/jane/ch1'),
        "prompt": ("short", "the murderer is the gardener"),
        "weight": ("1", "5000"),
        "telemetry.dropped": ("a", "the murderer is the gardener"),
        "telemetry.aside": ("a", "b"),
        "telemetry.search": ("a", "b"),
        "unlisted": ("a", "b"),
    }
    both = [text(key, value) for key, values in twice.items() for value in values]
    request = named(session, *both)
    resource = request.resource_logs[0].resource
    for key, value in (("host.name", "a"), ("host.name", "box-of-jane-roe"), ("member", "a")):
        resource.attributes.append(text(key, value))
    resource.attributes.append(text("member", "m-0000000000"))
    assert survives(stack, "logs", request.SerializeToString()) == 200
    query = (
        "SELECT error, weight, synthetic, extra, dropped FROM telemetry_events "
        "WHERE session_id = {s:String}"
    )
    [(error, weight, synthetic, extra, dropped)] = until(lambda: stack.member(query, s=session))
    assert error == "it says [quoted] in [path]"
    assert (weight, synthetic, dropped) == (1, "", ["unlisted"])
    assert set(extra) == {"user.email", "host.name"}
    assert all(value.startswith("p1:") for value in extra.values())
    leaks = ["murderer is the gardener", "jane at corp", "box-of-jane-roe"]
    assert planted.in_files(stack.home.path, leaks) == []


@pytest.mark.parametrize("value", [1e308, -1e308])
def test_numbers_at_the_edge(stack: Stack, value: float) -> None:
    survives(stack, "metrics", usage(str(uuid.uuid4()), value).SerializeToString())
    double = KeyValue(key="cost_usd", value=AnyValue(double_value=value))
    survives(stack, "logs", named(str(uuid.uuid4()), double).SerializeToString())


def test_gigantic_counts(stack: Stack) -> None:
    """Thousands of attributes, records of nothing, lengths that promise more than comes."""
    many = [text(f"key{number}", SECRET) for number in range(20_000)]
    survives(stack, "logs", named(str(uuid.uuid4()), *many).SerializeToString())
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for _ in range(20_000):
        scope.log_records.add()
    survives(stack, "logs", request.SerializeToString())
    survives(stack, "logs", b"\x0a\xff\xff\xff\xff\x0f")
    number = KeyValue(key="input_tokens", value=AnyValue(int_value=2**63 - 1))
    survives(stack, "logs", named(str(uuid.uuid4()), number).SerializeToString())


@pytest.mark.parametrize("seed", range(30))
def test_mutilated_requests(stack: Stack, seed: int) -> None:
    """Bytes flipped, cut out and doubled at random, in protobuf and in JSON."""
    chance = random.Random(seed)
    body = json.dumps(chance.choice(planted.requests()).body).replace("claude-opus", SECRET)
    kind = "application/json"
    data = bytearray(body.encode())
    if seed % 2:
        data = bytearray(named(str(uuid.uuid4()), text("prompt", SECRET)).SerializeToString())
        kind = PROTOBUF
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(data))
        if chance.random() < 0.4:
            data[place] ^= 1 << chance.randrange(8)
        elif chance.random() < 0.5:
            del data[place : place + chance.randrange(1, 20)]
        else:
            data[place:place] = data[place : place + chance.randrange(1, 20)]
    survives(stack, "logs", bytes(data), kind)


@pytest.mark.parametrize(
    "value",
    [
        {"intValue": "not a number"},
        {"doubleValue": {}},
        {"boolValue": SECRET},
        {"bytesValue": "####"},
        {"bytesValue": base64.b64encode(b"any bytes").decode()},
        {"stringValue": 5},
        {"unknownValue": SECRET},
        None,
    ],
    ids=lambda value: str(value)[:20],
)
def test_wrong_types(stack: Stack, value: Any) -> None:
    record = through.log(str(uuid.uuid4()), 0, {})
    record["attributes"].append({"key": "result", "value": value})
    survives(stack, "logs", made.request(record), "application/json")
    assert planted.in_rows(stack, [SECRET]) == []
