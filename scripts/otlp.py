"""OTLP requests: reading recorded ones, making them look as if they happened now, sending them."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import urllib3

from scripts.errors import Failure

Signal = Literal["logs", "metrics"]

_SIGNALS: dict[str, Signal] = {"logs": "logs", "metrics": "metrics"}
_TIMES = ("timeUnixNano", "startTimeUnixNano", "observedTimeUnixNano")
_FRESH = ("session.id", "prompt.id", "request_id", "tool_use_id", "message.uuid", "user.id")
"""Attributes whose value must not meet that of a real event."""
SYNTHETIC = "telemetry.synthetic"


@dataclass(frozen=True)
class Request:
    """One OTLP/HTTP JSON request."""

    signal: Signal
    body: dict[str, Any]


def recorded(folder: Path) -> list[Request]:
    """The requests of a recorded session, in the order they were sent."""
    found: list[Request] = []
    for file in sorted(folder.glob("[0-9]*-*.json")):
        signal = _SIGNALS.get(file.stem.split("-")[1])
        if signal is not None:
            found.append(Request(signal, json.loads(file.read_text(encoding="utf-8"))))
    return found


def records(request: Request) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each log record or data point, with the attributes of its resource."""
    for outer in request.body.get("resourceLogs", []):
        for scope in outer["scopeLogs"]:
            for record in scope["logRecords"]:
                yield record, outer["resource"]["attributes"]
    for outer in request.body.get("resourceMetrics", []):
        for scope in outer["scopeMetrics"]:
            for metric in scope["metrics"]:
                for kind in ("sum", "gauge"):
                    for point in metric.get(kind, {}).get("dataPoints", []):
                        yield point, outer["resource"]["attributes"]


def attributes(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """OTLP's key-value list as a mapping; values as they came."""
    return {entry["key"]: next(iter(entry["value"].values()), None) for entry in entries}


def as_of_now(requests: list[Request], run: str) -> list[Request]:
    """Copies whose last record happened now, with ids of their own, marked synthetic."""
    copies = [Request(r.signal, json.loads(json.dumps(r.body))) for r in requests]
    everything = [record for r in copies for record, _ in records(r)]
    latest = max(int(record["timeUnixNano"]) for record in everything)
    # Whole milliseconds, so that distances between records stay what they were.
    shift = (time.time_ns() - latest) // 1_000_000 * 1_000_000
    for record in everything:
        for key in _TIMES:
            if key in record:
                record[key] = str(int(record[key]) + shift)
        for entry in record["attributes"]:
            if entry["key"] in _FRESH and "stringValue" in entry["value"]:
                entry["value"]["stringValue"] = _fresh(run, entry["value"]["stringValue"])
        record["attributes"].append({"key": SYNTHETIC, "value": {"stringValue": run}})
    return copies


def _fresh(run: str, value: str) -> str:
    """Another value of the same shape, the same for the same value within a run."""
    other = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{run}/{value}"))
    if re.fullmatch(r"[0-9a-f]{64}", value):
        return other.replace("-", "") * 2
    prefix = re.match(r"[a-z]+_", value)
    return f"{prefix[0]}{other}" if prefix else other


def send(endpoint: str, request: Request, authorization: str = "") -> None:
    """POST one request, with that header where there is one. Raises Failure unless it is
    acknowledged."""
    try:
        reply = urllib3.request(
            "POST",
            f"{endpoint}/v1/{request.signal}",
            body=json.dumps(request.body).encode(),
            headers={
                "Content-Type": "application/json",
                **({"Authorization": authorization} if authorization else {}),
            },
            timeout=10,
            retries=False,
        )
    except urllib3.exceptions.HTTPError as error:
        raise Failure(f"The collector does not answer at {endpoint}: {error}") from None
    if reply.status != 200:
        said = reply.data.decode(errors="replace")[:300]
        raise Failure(f"The collector answered {reply.status} instead of 200: {said}")
