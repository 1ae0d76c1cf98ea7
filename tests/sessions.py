"""Recorded sessions of the newest client, sent again and again, each time as a new one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tests import recorded
from tests.recorded import Recorded

VERSION = "2.1.330"
PROTOBUF = "application/x-protobuf"
MARK = "5eed5eed"
"""Stands in every id of a template; whoever sends it puts a number there, of the same length."""
_IDS = {"session.id": 0, "prompt.id": 0, "message.uuid": 0, "request_id": 8, "tool_use_id": 8}
"""Attributes that are ids, and after how many characters the mark stands in them."""
_CONTENT = ("tool_input", "tool_parameters", "body")
_MESSAGES: dict[str, type[Message]] = {
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}


@dataclass(frozen=True)
class Request:
    """One request of a session."""

    signal: str
    template: bytes
    """Protobuf, with the mark in its ids. Two after one another are one request as well."""
    after: float
    """Seconds from the session's first record until it was sent."""
    rows: int
    """Events or metric points in it."""
    last: int
    """The greatest event.sequence in it; -1 for metrics."""


@dataclass(frozen=True)
class Session:
    """All that one session sent, in that order."""

    rest: str
    """Of its id, after the mark."""
    requests: tuple[Request, ...]

    def id(self, number: int) -> str:
        """What it is called when it is sent with a number."""
        return f"{number:08x}{self.rest}"


def numbered(template: bytes, number: int) -> bytes:
    """A template with a number (of 32 bits) for the mark."""
    return template.replace(MARK.encode(), b"%08x" % number)


def has_id(key: str) -> bool:
    """Whether an attribute holds one that the mark stands in."""
    return key in _IDS


def marked(key: str, value: str) -> str:
    """The id that an attribute holds, with the mark in it."""
    after = _IDS[key]
    return value[:after] + MARK + value[after + len(MARK) :]


def protobuf(signal: str, body: dict[str, Any]) -> bytes:
    """A request in the form the client sends it."""
    return ParseDict(body, _MESSAGES[signal]()).SerializeToString()


def is_plain(record: dict[str, Any]) -> bool:
    """Whether a log record is as by `telemetry env`: in a session, without content or traces."""
    sent = recorded.attributes(record["attributes"])
    content = [sent.get(key, "<REDACTED>") for key in ("prompt", "response")]
    plain = set(content) == {"<REDACTED>"} and not any(key in sent for key in _CONTENT)
    return plain and "session.id" in sent and "traceId" not in record


def records(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Log records of a request."""
    for outer in body["resourceLogs"]:
        for scope in outer["scopeLogs"]:
            yield from scope["logRecords"]


def sessions() -> list[Session]:
    """Those that are plain throughout, each under one id, ended a moment ago."""
    found = []
    for _, run in groupby(recorded.requests(version=VERSION), key=lambda each: each.run):
        requests = list(run)
        if _usable(requests):
            found.append(_session(recorded.shifted(requests)))
    return found


def _usable(requests: list[Recorded]) -> bool:
    """One session that was not resumed, with logs and metrics, and no traces."""
    logs = [record for each in requests if each.signal == "logs" for record in records(each.body)]
    sent = [recorded.attributes(record["attributes"]) for record in logs]
    numbers = [each["event.sequence"] for each in sent]
    return (
        {each.signal for each in requests} == {"logs", "metrics"}
        and all(map(is_plain, logs))
        and len({each["session.id"] for each in sent}) == 1
        and len(numbers) == len(set(numbers))
    )


def _session(requests: list[Recorded]) -> Session:
    times = [_times(each) for each in requests]
    began = min(map(min, times))
    [rest] = {
        value[len(MARK) :]
        for each in requests
        if each.signal == "logs"
        for record in records(each.body)
        for key, value in recorded.attributes(record["attributes"]).items()
        if key == "session.id"
    }
    return Session(
        rest,
        tuple(
            Request(
                signal=each.signal,
                template=protobuf(each.signal, _with_marks(each.body)),
                after=(max(at) - began) / 1e3,
                rows=len(at),
                last=max(
                    (sent["event.sequence"] for sent, _, _ in recorded.events(each)), default=-1
                ),
            )
            for each, at in zip(requests, times, strict=True)
        ),
    )


def _times(request: Recorded) -> list[int]:
    """Of each of its rows, in ms."""
    return [ms for _, _, ms in recorded.events(request)] + [
        int(point["timeUnixNano"]) // 1_000_000 for _, point, _, _ in recorded.points(request)
    ]


def _with_marks(node: Any) -> Any:
    """The same with the mark in every id."""
    if isinstance(node, list):
        return [_with_marks(each) for each in node]
    if not isinstance(node, dict):
        return node
    if has_id(str(node.get("key"))):
        return {**node, "value": {"stringValue": marked(node["key"], node["value"]["stringValue"])}}
    return {key: _with_marks(value) for key, value in node.items()}
