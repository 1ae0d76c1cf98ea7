"""Events a second and core, from the collector's door to rows, with everything in between."""

from __future__ import annotations

import copy
import itertools
import random
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import urllib3
from clickhouse_connect.driver.client import Client

from benchmarks.stack import Stack
from infra.warehouse import names
from tests import recorded, sessions
from tests.conftest import until

RECORDS = 200
CONNECTIONS = 4
SECONDS = 60
_TEMPLATES = 16
SESSIONS = 2 * _TEMPLATES
"""Of 100 events, from which the templates take their order and ids."""


@dataclass(frozen=True)
class Rate:
    """What came of it."""

    events: int
    seconds: float
    cpu: dict[str, float]
    """CPU seconds by program."""
    bytes: int
    refused: int
    """Requests answered 503 and sent again."""

    @property
    def per_core(self) -> float:
        """Stored events for each second that a core worked."""
        return self.events / sum(self.cpu.values())


def _examples() -> dict[str, Iterator[dict[str, Any]]]:
    """Recorded records by event, over and over; those without content, as by `telemetry env`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for request in recorded.requests("logs", sessions.VERSION):
        for record in sessions.records(request.body):
            if sessions.is_plain(record):
                sent = recorded.attributes(record["attributes"])
                found.setdefault(sent["event.name"], []).append(record)
    return {name: itertools.cycle(records) for name, records in found.items()}


def _templates(client: Client) -> list[bytes]:
    """Requests whose order of events and whose ids are the generator's, all else as recorded."""
    examples = _examples()
    rows = client.query(
        "SELECT event, prompt_id, request_id, tool_use_id "
        f"FROM {names.DATABASE}.{names.EVENTS} ORDER BY session_id, seq "
        f"LIMIT {_TEMPLATES * RECORDS}"
    ).result_rows
    [outer] = next(recorded.requests("logs", sessions.VERSION)).body["resourceLogs"]
    found = []
    now = time.time_ns() // 1_000_000
    for start in range(0, len(rows), RECORDS):
        session, records = str(uuid.uuid4()), []
        for number, (event, prompt, request, tool) in enumerate(rows[start : start + RECORDS]):
            record = copy.deepcopy(next(examples[event]))
            record["timeUnixNano"] = record["observedTimeUnixNano"] = f"{now + number}000000"
            ids = {
                "session.id": session,
                "prompt.id": prompt,
                "message.uuid": str(uuid.uuid4()),
                "request_id": request,
                "tool_use_id": tool,
            }
            for entry in record["attributes"]:
                key = entry["key"]
                if sessions.has_id(key):
                    entry["value"] = {"stringValue": sessions.marked(key, ids[key])}
                elif key == "event.sequence":
                    entry["value"] = {"intValue": number}
            records.append(record)
        [scope] = outer["scopeLogs"]
        body = {"resourceLogs": [{**outer, "scopeLogs": [{**scope, "logRecords": records}]}]}
        found.append(sessions.protobuf("logs", body))
    return found


def measure(stack: Stack, client: Client, seconds: int = SECONDS) -> Rate:
    """Send for a while what no event of the store is, and wait until all of it is stored."""
    templates = _templates(client)
    door = urllib3.PoolManager(maxsize=CONNECTIONS)
    address = f"http://127.0.0.1:{stack.settings.ports.otlp_http}/v1/logs"
    numbers = itertools.count()
    accepted, refused = itertools.count(), itertools.count()
    end = time.monotonic() + seconds

    def send() -> None:
        while time.monotonic() < end:
            number = next(numbers)
            body = sessions.numbered(templates[number % _TEMPLATES], number)
            while True:
                reply = door.request(
                    "POST", address, body=body, headers={"Content-Type": sessions.PROTOBUF}
                )
                if reply.status == 200:
                    break
                assert reply.status == 503, reply.data
                next(refused)
                time.sleep(random.uniform(0.05, 0.2))
            next(accepted)

    table = f"{names.DATABASE}.{names.EVENTS}"

    def rows(final: int) -> int:
        return int(str(client.command(f"SELECT count() FROM {table}", settings={"final": final})))

    there, before = rows(1), stack.cpu()
    began = time.monotonic()
    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = next(accepted) * RECORDS
    until(lambda: rows(0) >= there + sent, seconds=600)
    took = time.monotonic() - began
    after = stack.cpu()
    assert rows(1) == there + sent, "every event is a row of its own"
    return Rate(
        events=sent,
        seconds=took,
        cpu={name: after[name] - before[name] for name in after},
        bytes=sum(map(len, templates)) // (_TEMPLATES * RECORDS),
        refused=next(refused),
    )
