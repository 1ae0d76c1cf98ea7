"""Figures of a running stack: memory at rest, acknowledgement, and how soon a row is readable."""

from __future__ import annotations

import json
import statistics
import time
import uuid
from dataclasses import dataclass
from typing import Any

import urllib3

from benchmarks.stack import Stack
from infra.settings import Settings
from infra.warehouse import names
from scripts import warehouse
from stacks.home import Home

_ROUNDS = 200


@dataclass(frozen=True)
class Quantiles:
    """Milliseconds."""

    p50: float
    p99: float

    def both(self, digits: int) -> str:
        """For a table."""
        return f"{self.p50:.{digits}f} / {self.p99:.{digits}f}"


def quantiles(seconds: list[float]) -> Quantiles:
    """Of at least two."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return Quantiles(statistics.median(seconds) * 1000, cuts[98] * 1000)


def memory(stack: Stack) -> dict[str, float]:
    """Resident MiB of each supervised program and its children, after half a minute of rest."""
    time.sleep(30)
    return {
        name: sum(each.memory_info().rss for each in family) / 1024**2
        for name, family in stack.families().items()
    }


def _event(session: str) -> bytes:
    attributes = {"event.name": "user_prompt", "session.id": session, "event.sequence": "1"}
    record: dict[str, Any] = {
        "timeUnixNano": str(time.time_ns()),
        "body": {"stringValue": "claude_code.user_prompt"},
        "attributes": [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()],
    }
    outer = {"resource": {"attributes": []}, "scopeLogs": [{"logRecords": [record]}]}
    return json.dumps({"resourceLogs": [outer]}).encode()


def _readable(client: Any, session: str) -> None:
    query = f"SELECT count() FROM {names.DATABASE}.{names.EVENTS} WHERE session_id = {{s:String}}"
    while not client.command(query, parameters={"s": session}):
        pass


def delivery(settings: Settings, home: Home) -> dict[str, Quantiles]:
    """One event at a time: until acknowledged, from then until readable; and the same row inserted
    straight into ClickHouse as the baseline."""
    client = warehouse.as_admin(settings, home.secrets())
    door = urllib3.PoolManager()
    address = f"http://127.0.0.1:{settings.ports.otlp_http}/v1/logs"
    acknowledged, readable, direct = [], [], []
    for _ in range(_ROUNDS):
        session = str(uuid.uuid4())
        began = time.perf_counter()
        reply = door.request(
            "POST", address, body=_event(session), headers={"Content-Type": "application/json"}
        )
        assert reply.status == 200
        answered = time.perf_counter()
        _readable(client, session)
        acknowledged.append(answered - began)
        readable.append(time.perf_counter() - answered)

        session = str(uuid.uuid4())
        began = time.perf_counter()
        client.command(
            f"INSERT INTO {names.DATABASE}.{names.LOGS_LANDING} (Timestamp, LogAttributes) SELECT "
            "now64(9), map('event.name', 'user_prompt', 'session.id', {s:String})",
            parameters={"s": session},
        )
        _readable(client, session)
        direct.append(time.perf_counter() - began)
    return {
        "acknowledged": quantiles(acknowledged),
        "readable": quantiles(readable),
        "direct": quantiles(direct),
    }
