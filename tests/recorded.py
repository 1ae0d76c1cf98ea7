"""The recorded requests, read by the tests' own eyes: an oracle apart from the code under test."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Recorded:
    """One recorded request."""

    run: str
    """Such as claude-code-2.1.330/01-text."""
    name: str
    signal: str
    body: dict[str, Any]


def requests(signal: str | None = None, version: str = "") -> Iterator[Recorded]:
    """All of them, or those of one signal or version, in the order they were sent."""
    for path in sorted(FIXTURES.glob(f"claude-code-{version or '*'}/*/[0-9]*.json")):
        kind = path.stem.split("-")[1]
        if signal in (None, kind):
            run = f"{path.parent.parent.name}/{path.parent.name}"
            yield Recorded(run, path.stem, kind, json.loads(path.read_text(encoding="utf-8")))


def versions() -> list[str]:
    """Client versions there are recordings of."""
    return sorted(path.name.removeprefix("claude-code-") for path in FIXTURES.glob("claude-code-*"))


def plain(value: dict[str, Any]) -> Any:
    """An OTLP value as Python sees it; numbers in strings become numbers."""
    [(kind, content)] = value.items()
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [plain(each) for each in content.get("values", [])]
    return content


def attributes(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """A list of key-value pairs as a mapping."""
    return {entry["key"]: plain(entry["value"]) for entry in entries}


def events(request: Recorded) -> Iterator[tuple[dict[str, Any], dict[str, Any], int]]:
    """Each log record: its attributes, its resource's, its time in ms."""
    for outer in request.body.get("resourceLogs", []):
        resource = attributes(outer["resource"]["attributes"])
        for scope in outer["scopeLogs"]:
            for record in scope["logRecords"]:
                ms = int(record["timeUnixNano"]) // 1_000_000
                yield attributes(record["attributes"]), resource, ms


def points(
    request: Recorded,
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Each data point: metric, the point, its attributes, its resource's."""
    for outer in request.body.get("resourceMetrics", []):
        resource = attributes(outer["resource"]["attributes"])
        for scope in outer["scopeMetrics"]:
            for metric in scope["metrics"]:
                for point in metric["sum"]["dataPoints"]:
                    yield metric["name"], point, attributes(point["attributes"]), resource


def shifted(found: list[Recorded], ago_s: int = 0) -> list[Recorded]:
    """The same requests, the last record of all now, or so long ago: no retention has an eye on
    them yet."""
    latest = max(
        [ms for request in found for _, _, ms in events(request)]
        + [
            int(point["timeUnixNano"]) // 1_000_000
            for request in found
            for _, point, _, _ in points(request)
        ]
    )
    delta = (int((time.time() - ago_s) * 1000) - latest) * 1_000_000

    def move(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: str(int(value) + delta) if key.endswith("UnixNano") else move(value)
                for key, value in node.items()
            }
        if isinstance(node, list):
            return [move(each) for each in node]
        return node

    return [Recorded(each.run, each.name, each.signal, move(each.body)) for each in found]
