"""What nobody listed is dropped and counted by name; what a client claims of that is not."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests import made
from tests.conftest import Stack, until
from tests.sanitize import through

pytestmark = pytest.mark.stack

SECRET = "ghp_" + "Kx9" * 12


def dropped(stack: Stack, record: dict[str, Any], **outer: Any) -> tuple[list[str], dict[str, str]]:
    """Names counted, and `extra`, of one record."""
    session = str(uuid.uuid4())
    body = json.loads(made.request(through.log(session, 0, record)))
    resource = [
        {"key": k, "value": {"stringValue": v}} for k, v in outer.get("resource", {}).items()
    ]
    scope = [{"key": k, "value": {"stringValue": v}} for k, v in outer.get("scope", {}).items()]
    body["resourceLogs"][0]["resource"] = {"attributes": resource}
    body["resourceLogs"][0]["scopeLogs"][0]["scope"]["attributes"] = scope
    assert stack.post("logs", json.dumps(body).encode()) == 200
    query = "SELECT dropped, extra FROM telemetry_events WHERE session_id = {s:String}"
    [(names, extra)] = until(lambda: stack.member(query, s=session))
    return sorted(names), extra


def test_an_unlisted_attribute_is_counted_by_its_name(stack: Stack) -> None:
    names, extra = dropped(
        stack,
        {"brand_new": SECRET, "result": "x", "prompt": SECRET, "event.timestamp": "now"},
        resource={"new.resource": "x"},
        scope={"new.scope": "x", "model": "y"},
    )
    assert names == ["brand_new", "new.resource", "new.scope"]
    assert extra == {"result": "x"}
    assert "brand_new" in stack.run("status").stdout
    rows = json.loads(stack.ok("query", "dropped-attributes", "--json"))
    assert "brand_new" in {row["attribute"] for row in rows}


@pytest.mark.parametrize(
    "name",
    [SECRET, "jane.doe@example.com", "Jane", "two words", "x" * 65, "a1b2c3d4e5f60718293a4b5c6d",
     "call_0171234567", "schlüssel", "a\nb", "key=value"],
)  # fmt: skip
def test_a_name_that_may_be_someones_text_is_masked(stack: Stack, name: str) -> None:
    names, _ = dropped(stack, {name: "x"})
    assert names == ["(odd name)"]


def test_a_client_cannot_smuggle_text_in_where_the_collector_counts(stack: Stack) -> None:
    forged = {
        "telemetry.unknown": SECRET,
        "telemetry.search": "text",
        "telemetry.aside": "text",
        "telemetry.dropped": "claimed,by,client",
    }
    names, extra = dropped(stack, forged, resource=forged, scope=forged)
    assert names == ["telemetry.unknown"] * 3
    assert extra == {}


def test_points_count_theirs_too(stack: Stack) -> None:
    session = str(uuid.uuid4())
    now = through.log(session, 0, {})["timeUnixNano"]
    attributes = {"session.id": session, "type": "input", "brand_new_label": SECRET}
    point = {
        "timeUnixNano": now,
        "startTimeUnixNano": now,
        "asDouble": 1,
        "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()],
        "exemplars": [{"timeUnixNano": now, "asDouble": 1, "filteredAttributes": [
            {"key": "hidden", "value": {"stringValue": SECRET}}]}],
    }  # fmt: skip
    metric = {
        "name": "claude_code.token.usage",
        "sum": {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": [point]},
    }
    body = {"resourceMetrics": [{"resource": {}, "scopeMetrics": [{"metrics": [metric]}]}]}
    assert stack.post("metrics", json.dumps(body).encode()) == 200
    query = "SELECT dropped, type FROM metric_points WHERE session_id = {s:String}"
    [(names, kind)] = until(lambda: stack.member(query, s=session))
    assert (names, kind) == (["brand_new_label"], "input")
