"""Requests unlike those of the client today: refused, set aside or kept, never in the way."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
import urllib3

from tests import recorded
from tests.conftest import Stack, until
from tests.made import log, request

pytestmark = pytest.mark.stack

SECRET = "ghp_FAKE1111FAKE1111FAKE1111FAKE1111FAKE"


def rows(stack: Stack, session: str) -> list[Any]:
    return stack.member(
        "SELECT event, extra, chapter FROM telemetry_events WHERE session_id = {session:String}",
        session=session,
    )


def aside(stack: Stack) -> str:
    return "".join(
        file.read_text(errors="replace")
        for file in (stack.home.queue / "aside").glob("*")
        if file.is_file()
    )


def test_traces_are_refused_cleanly(stack: Stack) -> None:
    [found, *_] = recorded.requests("traces")
    assert stack.post("traces", json.dumps(found.body).encode()) == 404


@pytest.mark.parametrize(
    "when",
    ["1", str(2**63 + 5), str(2**64 - 1), "0", str(time.time_ns() + 60 * 86400 * 10**9)],
    ids=["1970", "before 1900 as signed", "the last moment", "none", "in two months"],
)
def test_a_record_of_an_impossible_time_is_set_aside_and_stops_no_other(
    stack: Stack, when: str
) -> None:
    session = str(uuid.uuid4())
    strange = log(session, timeUnixNano=when, attributes={"prompt": SECRET, "chapter": when})
    assert stack.post("logs", request(log(session), strange)) == 200
    until(lambda: rows(stack, session))
    until(lambda: f'"{when}"' in aside(stack))
    time.sleep(1)
    assert len(rows(stack, session)) == 1
    assert SECRET not in aside(stack)


@pytest.mark.parametrize("name", ["", "Two Words", SECRET, "x" * 100])
def test_a_record_without_a_proper_event_name_is_set_aside(stack: Stack, name: str) -> None:
    session = str(uuid.uuid4())
    record = log(session, attributes={"event.name": name}, body={"stringValue": name})
    assert stack.post("logs", request(log(session), record)) == 200
    until(lambda: session in aside(stack))
    assert [row[0] for row in rows(stack, session)] in ([], ["user_prompt"])
    assert SECRET not in aside(stack)


def test_an_event_that_is_new_is_kept_with_all_that_may_pass(stack: Stack) -> None:
    session = str(uuid.uuid4())
    new = {"event.name": "brand_new_event", "result": "complete", "unheard_of": "text of a person"}
    assert stack.post("logs", request(log(session, attributes=new))) == 200
    [(event, extra, _)] = until(lambda: rows(stack, session))
    assert (event, extra) == ("brand_new_event", {"result": "complete"})


def test_an_event_named_in_the_body_alone_is_known_by_it(stack: Stack) -> None:
    session = str(uuid.uuid4())
    record = log(session, body={"stringValue": "claude_code.api_error"})
    record["attributes"] = [entry for entry in record["attributes"] if entry["key"] != "event.name"]
    assert stack.post("logs", request(record)) == 200
    [(event, _, _)] = until(lambda: rows(stack, session))
    assert event == "api_error"


def test_what_a_client_says_of_the_member_or_of_itself_is_dropped(stack: Stack) -> None:
    session = str(uuid.uuid4())
    claims = {"member": "m-somebody1", "weight": 1000, "telemetry.record_hash": "ff"}
    resource = {"member": "m-somebody2", "weight": 7}
    assert stack.post("logs", request(log(session, attributes=claims), resource=resource)) == 200
    until(lambda: rows(stack, session))
    found = stack.admin(
        "SELECT member, weight, record_hash, extra FROM telemetry.telemetry_events "
        "WHERE session_id = {session:String}",
        session=session,
    )
    assert found == [(stack.home.secrets().member, 1.0, 0, {})]


@pytest.mark.parametrize(
    "shape",
    [
        {"arrayValue": {"values": [{"stringValue": SECRET}]}},
        {"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": SECRET}}]}},
        {"stringValue": json.dumps({"token": SECRET, "deep": json.dumps({"again": SECRET})})},
    ],
    ids=["array", "map", "JSON in a string"],
)
def test_a_secret_inside_a_nested_value_is_cut_out(stack: Stack, shape: dict[str, Any]) -> None:
    session = str(uuid.uuid4())
    record = log(session, attributes={"result": shape, "chapter": shape})
    assert stack.post("logs", request(record)) == 200
    [(_, extra, chapter)] = until(lambda: rows(stack, session))
    assert SECRET not in str((extra, chapter))
    assert "[redacted:github-token]" in extra["result"]


def test_free_text_of_the_envelope_is_not_kept(stack: Stack) -> None:
    """Body, severity, scope, schema and trace names are places for text, too."""
    session = str(uuid.uuid4())
    record = log(
        session,
        timeUnixNano="1",  # set aside, where the whole record can be read
        body={"stringValue": f"claude_code.{SECRET}"},
        severityText=SECRET,
        eventName=SECRET,
    )
    body = json.loads(request(record))
    body["resourceLogs"][0]["schemaUrl"] = SECRET
    scope = body["resourceLogs"][0]["scopeLogs"][0]
    scope["schemaUrl"] = SECRET
    scope["scope"] = {
        "name": SECRET,
        "version": SECRET,
        "attributes": [
            {"key": "user.email", "value": {"stringValue": "jo@example.com"}},
            {"key": "other", "value": {"stringValue": SECRET}},
        ],
    }
    assert stack.post("logs", json.dumps(body).encode()) == 200
    until(lambda: session in aside(stack))
    assert SECRET not in aside(stack)
    assert "jo@example.com" not in aside(stack)


def metric(session: str, kind: str, **changes: Any) -> bytes:
    point = {
        "timeUnixNano": str(time.time_ns()),
        "startTimeUnixNano": str(time.time_ns() - 10**9),
        "attributes": [{"key": "session.id", "value": {"stringValue": session}}],
        **({"count": "1", "sum": 1.0} if kind in ("histogram", "summary") else {"asDouble": 1.5}),
        "exemplars": [],
        **changes,
    }
    if kind == "summary":
        point.pop("exemplars")
    definition = {"dataPoints": [point]}
    if kind in ("sum", "histogram"):
        definition["aggregationTemporality"] = 1  # type: ignore[assignment]
    found = {"name": "claude_code.test", "description": SECRET, kind: definition}
    scope = {"scope": {"name": "com.anthropic.claude_code"}, "metrics": [found]}
    outer = {"resource": {"attributes": []}, "scopeMetrics": [scope]}
    return json.dumps({"resourceMetrics": [outer]}).encode()


@pytest.mark.parametrize("kind", ["sum", "gauge"])
def test_points_of_a_sum_and_of_a_gauge_are_stored(stack: Stack, kind: str) -> None:
    session = str(uuid.uuid4())
    sample = {
        "filteredAttributes": [{"key": "user.email", "value": {"stringValue": SECRET}}],
        "timeUnixNano": str(time.time_ns()),
        "asDouble": 1.0,
    }
    assert stack.post("metrics", metric(session, kind, exemplars=[sample])) == 200
    query = "SELECT value, toString(temporality) FROM metric_points WHERE session_id = {s:String}"
    [found] = until(lambda: stack.member(query, s=session))
    assert tuple(found) == (1.5, "delta" if kind == "sum" else "gauge")


@pytest.mark.parametrize("kind", ["histogram", "summary"])
def test_a_kind_of_metric_there_is_no_table_for_is_set_aside(stack: Stack, kind: str) -> None:
    session = str(uuid.uuid4())
    assert stack.post("metrics", metric(session, kind)) == 200
    until(lambda: session in aside(stack))
    assert SECRET not in aside(stack)


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"resourceLogs": 5}', b"[" * 10000])
def test_a_request_that_is_no_otlp_is_refused_and_the_collector_lives(
    stack: Stack, body: bytes
) -> None:
    before = stack.pid("collector")
    assert stack.post("logs", body) >= 400
    assert stack.pid("collector") == before


def test_protobuf_and_gzip_are_taken_as_the_client_sends_them(stack: Stack) -> None:
    for run in ("22-http-protobuf", "63-gzip"):
        folder = recorded.FIXTURES / "claude-code-2.1.330" / run
        body = (folder / "0001-logs.pb").read_bytes()
        assert stack.post("logs", body, "application/x-protobuf") == 200


def test_the_collector_answers_on_grpc(stack: Stack) -> None:
    address = f"http://127.0.0.1:{stack.settings.ports.otlp_grpc}"
    with pytest.raises(urllib3.exceptions.HTTPError):
        urllib3.request("GET", address, retries=False, timeout=5)  # HTTP/2 only: it listens
