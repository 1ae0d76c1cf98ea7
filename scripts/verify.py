"""`telemetry verify`: does an event that Claude Code sends become the row that people read?

A recorded session goes through the running collector, its rows are read back through ClickHouse,
compared with what was sent, and removed again. They are synthetic: times shifted to now, fresh ids,
marked, so that no report ever counts them.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.secrets import Secrets
from infra.settings import Settings
from infra.warehouse import names
from scripts import otlp, warehouse

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

SESSION = Path(__file__).parent / "session"
"""One edit of a file and one commit, recorded from the real client."""

TIMEOUT_SECONDS = 60
_TEXTS = ("model", "tool_name", "tool_use_id", "request_id", "decision", "query_source")
_NUMBERS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
    "duration_ms",
    "prompt_length",
    "response_length",
    "tool_result_size_bytes",
)


@dataclass(frozen=True)
class Verdict:
    """What verify found. Times in seconds."""

    events_sent: int
    points_sent: int
    acknowledged: float
    readable: float
    differences: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether every record became its row."""
        return not self.differences


def _expected_event(record: dict[str, Any], resource: list[dict[str, Any]]) -> dict[str, Any]:
    """The row a log record must become, as far as verify looks."""
    sent = {**otlp.attributes(resource), **otlp.attributes(record["attributes"])}
    micros = sent.get("cost_usd_micros")
    return {
        "ts": int(record["timeUnixNano"]) // 1_000_000,
        "event": sent["event.name"],
        "session_id": sent["session.id"],
        "seq": int(sent["event.sequence"]),
        "team": sent.get("team", ""),
        "chapter": sent.get("chapter", ""),
        "git_branch": sent.get("git.branch", ""),
        "client_version": sent["service.version"],
        "prompt_id": sent.get("prompt.id", ""),
        "cost_usd": Decimal(int(micros)).scaleb(-6) if micros is not None else None,
        **{name: sent.get(name, "") for name in _TEXTS},
        **{name: int(sent[name]) if name in sent else None for name in _NUMBERS},
        "success": {"true": True, "false": False}.get(str(sent.get("success"))),
    }


def _stored_events(client: Client, run: str, columns: list[str]) -> list[dict[str, Any]]:
    shown = ", ".join(
        f"toUnixTimestamp64Milli({name})" if name == "ts" else name for name in columns
    )
    result = client.query(
        f"SELECT {shown} FROM {names.DATABASE}.{names.EVENTS} WHERE synthetic = {{run:String}}",
        parameters={"run": run},
    )
    return [dict(zip(columns, row, strict=True)) for row in result.result_rows]


def arrived(client: Client, run: str, *, events: int, points: int) -> bool:
    """Wait until so many rows of a self-test are there; False where they are not in time."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < end:
        if (
            warehouse.count(client, names.EVENTS, synthetic=run) >= events
            and warehouse.count(client, names.METRIC_POINTS, synthetic=run) >= points
        ):
            return True
        time.sleep(0.1)
    return False


def remove(client: Client, run: str) -> None:
    """Remove the rows of a self-test."""
    for table in names.OWN_EVENTS:
        client.command(
            f"ALTER TABLE {names.DATABASE}.{table} DELETE WHERE synthetic = {{run:String}}",
            parameters={"run": run},
            settings={"mutations_sync": 2},
        )


def _differences(expected: list[dict[str, Any]], stored: list[dict[str, Any]]) -> list[str]:
    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["session_id"], row["seq"], row["event"]

    by_key = {key(row): row for row in stored}
    found = []
    for want in expected:
        have = by_key.pop(key(want), None)
        if have is None:
            found.append(f"{want['event']} (sequence {want['seq']}) was sent and is not stored")
            continue
        found.extend(
            f"{want['event']} (sequence {want['seq']}): {name} is {have[name]!r}, "
            f"{value!r} was sent"
            for name, value in want.items()
            if have[name] != value
        )
    found.extend(
        f"{row['event']} (sequence {row['seq']}) is stored twice or was not sent"
        for row in by_key.values()
    )
    return found


def verify(settings: Settings, secrets: Secrets, authorization: str = "") -> Verdict:
    """Send, read back, compare, remove. `authorization`: for a collector that asks who sends."""
    run = f"verify-{uuid.uuid4().hex[:12]}"
    requests = otlp.as_of_now(otlp.recorded(SESSION), run)
    expected = [
        _expected_event(record, resource)
        for request in requests
        if request.signal == "logs"
        for record, resource in otlp.records(request)
    ]
    if authorization:
        # Where it asks who sends, the collector knows their team.
        expected = [{**each, "team": settings.context.team} for each in expected]
    if settings.backend == "prometheus":
        # No self-test goes there, for nobody could take it out again.
        requests = [request for request in requests if request.signal != "metrics"]
    points = sum(
        1 for request in requests if request.signal == "metrics" for _ in otlp.records(request)
    )
    client = warehouse.as_admin(settings, secrets)
    endpoint = f"http://127.0.0.1:{settings.ports.otlp_http}"
    began = time.monotonic()
    try:
        for request in requests:
            otlp.send(endpoint, request, authorization)
        acknowledged = time.monotonic() - began
        arrived(client, run, events=len(expected), points=points)
        readable = time.monotonic() - began
        found = _differences(expected, _stored_events(client, run, list(expected[0])))
        stored_points = warehouse.count(client, names.METRIC_POINTS, synthetic=run)
        if stored_points != points:
            found.append(f"{points} metric points were sent, {stored_points} are stored")
    finally:
        remove(client, run)
    return Verdict(len(expected), points, acknowledged, readable, found)
