"""What stands in a resource is searched as what stands in a record is, with or without one."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests import made
from tests.conftest import Stack, until
from tests.sanitize import planted, through
from tests.sanitize.test_malformed import text, usage
from tests.sanitize.test_team_rules import CASE

pytestmark = pytest.mark.stack

SECRET = "ghp_" + "Wv4" * 12
NEEDY = {"chapter": f"see {SECRET}", "team": "book", "service.version": "2.1.330"}
CUT = {"chapter": "see [redacted:github-token]", "team": "book"}


def chapters(stack: Stack, session: str, records: int) -> list[dict[str, str]]:
    """Chapter and team of each record."""
    query = "SELECT chapter, team FROM telemetry_events WHERE session_id = {s:String} ORDER BY seq"

    def stored() -> list[Any] | None:
        rows = stack.member(query, s=session)
        return rows if len(rows) == records else None

    return [{"chapter": chapter, "team": team} for chapter, team in until(stored)]


@pytest.mark.parametrize("result", ["x", "of jane.doe@example.com", "Gute Nacht"])
def test_a_resource_is_searched_whatever_its_records_hold(stack: Stack, result: str) -> None:
    session = str(uuid.uuid4())
    records = [through.log(session, number, {"result": result}) for number in range(3)]
    assert stack.post("logs", made.request(*records, resource=NEEDY)) == 200
    assert chapters(stack, session, 3) == [CUT] * 3
    query = "SELECT DISTINCT extra['result'] FROM telemetry_events WHERE session_id = {s:String}"
    [(stored,)] = stack.member(query, s=session)
    assert stored == result.replace("jane.doe@example.com", "[redacted:email]")


def test_each_resource_of_a_request_is_searched(stack: Stack) -> None:
    session = str(uuid.uuid4())
    resources = [
        json.loads(made.request(through.log(session, number, {}), resource=each))
        for number, each in enumerate([NEEDY, {"chapter": "ch03", "team": "book"}, NEEDY])
    ]
    merged = [outer for each in resources for outer in each["resourceLogs"]]
    assert stack.post("logs", json.dumps({"resourceLogs": merged}).encode()) == 200
    assert chapters(stack, session, 3) == [CUT, {"chapter": "ch03", "team": "book"}, CUT]


def test_a_resource_of_points_is_searched(stack: Stack) -> None:
    session = str(uuid.uuid4())
    request = usage(session, 1, 2)
    request.resource_metrics[0].resource.attributes.extend(text(*each) for each in NEEDY.items())
    body = request.SerializeToString()
    assert stack.post("metrics", body, "application/x-protobuf") == 200
    query = "SELECT DISTINCT chapter FROM metric_points WHERE session_id = {s:String}"
    assert until(lambda: stack.member(query, s=session)) == [(CUT["chapter"],)]


def test_nothing_is_written_of_a_resource_without_a_record(stack: Stack) -> None:
    """No record, no data point, or a metric of no type, which goes aside."""
    session = str(uuid.uuid4())
    empty = json.loads(made.request(resource=NEEDY))
    record = json.loads(made.request(through.log(session, 0, {})))
    body = {"resourceLogs": [*empty["resourceLogs"], *record["resourceLogs"]]}
    assert stack.post("logs", json.dumps(empty).encode()) == 200
    assert stack.post("logs", json.dumps(body).encode()) == 200
    request = usage(session)
    request.resource_metrics[0].resource.attributes.extend(text(*each) for each in NEEDY.items())
    metrics = request.resource_metrics[0].scope_metrics[0].metrics
    for name in ("claude_code.nothing", "claude_code.commit.count"):
        metrics.add().name = name
    metrics[-1].gauge.SetInParent()
    body_of_points = request.SerializeToString()
    assert stack.post("metrics", body_of_points, "application/x-protobuf") == 200
    assert chapters(stack, session, 1) == [{"chapter": "", "team": ""}]
    assert planted.in_files(stack.home.path, [SECRET]) == []


def test_a_teams_pattern_holds_in_a_resource(own_stack: Stack) -> None:
    own_stack.change(sanitize={"patterns": [CASE]})
    own_stack.ok("up")
    for chapter in ("CASE-123456", f"{SECRET} CASE-123456"):
        session = str(uuid.uuid4())
        records = [through.log(session, number, {"result": "CASE-123456"}) for number in range(2)]
        body = made.request(*records, resource={"chapter": chapter})
        assert own_stack.post("logs", body) == 200
        cut = chapter.replace("CASE-123456", "[redacted:case-number]")
        cut = cut.replace(SECRET, "[redacted:github-token]")
        assert chapters(own_stack, session, 2) == [{"chapter": cut, "team": ""}] * 2
