"""Events come in while there is no schema, or an older one: not one is swallowed on the way."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
import yaml

from infra.warehouse import names
from scripts import warehouse
from tests.conftest import Stack, until
from tests.e2e.test_upgrade import FIRST, as_it_was
from tests.faults.common import Ledger, Sessions, collector, status, supervisor

pytestmark = pytest.mark.stack

OLDER = Path(__file__).parent / "older-collector.yaml"


class Inserter(threading.Thread):
    """Inserts straight into the landing table, an event at a time and without a pause: it meets
    every moment of a change, where the collector tries again every few seconds."""

    def __init__(self, stack: Stack, done: threading.Event) -> None:
        super().__init__(daemon=True)
        self._done = done
        self._member = stack.home.secrets().member
        self._url = warehouse.url(stack.settings)
        self._login = urllib3.make_headers(
            basic_auth=f"{names.INGEST_USER}:{stack.home.secrets().ingest_password}"
        )
        self.acknowledged: list[str] = []
        self.refused = 0

    def run(self) -> None:
        insert = (
            f"INSERT INTO {names.DATABASE}.{names.LOGS_LANDING} "
            "(Timestamp, ResourceAttributes, LogAttributes) FORMAT JSONEachRow "
        )
        with urllib3.PoolManager() as pool:
            while not self._done.is_set():
                session = str(uuid.uuid4())
                row = {
                    "Timestamp": f"{time.time():.3f}",
                    "ResourceAttributes": {"member": self._member},
                    "LogAttributes": {
                        "event.name": "user_prompt", "session.id": session, "event.sequence": "1"
                    },
                }  # fmt: skip
                body = (insert + json.dumps(row)).encode()
                try:
                    reply = pool.request(
                        "POST", self._url, body=body, headers=self._login, retries=False, timeout=30
                    )
                    stored = reply.status == 200
                except urllib3.exceptions.HTTPError:
                    stored = False
                if stored:
                    self.acknowledged.append(session)
                else:
                    self.refused += 1


@contextmanager
def inserting(stack: Stack) -> Iterator[None]:
    """What was inserted meanwhile is there once."""
    done = threading.Event()
    threads = [Inserter(stack, done) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield
    before = sum(len(thread.acknowledged) for thread in threads)
    until(lambda: sum(len(thread.acknowledged) for thread in threads) > before + 10)
    done.set()
    for thread in threads:
        thread.join()
    assert sum(thread.refused for thread in threads) > 0
    sent = {session for thread in threads for session in thread.acknowledged}
    rows = Counter(
        session for (session,) in stack.member("SELECT session_id FROM telemetry_events")
    )
    lost = [session for session in sent if rows[session] != 1]
    assert not lost, f"{len(lost)} of {len(sent)} lost or doubled"


def test_what_comes_before_there_is_a_schema_is_stored_once_there_is_one(own_stack: Stack) -> None:
    own_stack.ok("up")
    client = warehouse.as_admin(own_stack.settings, own_stack.home.secrets())
    client.command(f"DROP DATABASE {names.DATABASE} SYNC")
    client.close_connections()
    ledger = Ledger(own_stack)
    for _ in range(5):
        ledger.send(*Sessions().again())
    assert status(own_stack)["waiting_bytes"] > 0
    with inserting(own_stack):
        assert "applied 0001_landing.sql" in own_stack.ok("up", "--json")
    ledger.settle()


def test_a_queue_of_an_earlier_version_is_delivered_by_todays(own_stack: Stack) -> None:
    """The oldest schema with events in it, and a full queue written by a collector with an earlier
    configuration; ClickHouse is away when the new version comes."""
    own_stack.ok("up")
    client = warehouse.as_admin(own_stack.settings, own_stack.home.secrets())
    as_it_was(client)
    for file in FIRST:
        client.insert(
            names.MIGRATIONS,
            [[file.name, file.checksum]],
            column_names=["name", "checksum"],
            database=names.DATABASE,
        )
    client.close_connections()
    own = supervisor(own_stack)
    own.halt("collector")
    ledger = Ledger(own_stack)
    with older_collector(own_stack) as older:
        ledger.send(*Sessions().again())
        until(lambda: own_stack.metric("otelcol_exporter_queue_size") == 0)
        own.halt("clickhouse")
        for _ in range(10):
            ledger.send(*Sessions().again())
        older.kill()
    with inserting(own_stack):
        assert "applied 0004_events_by_session.sql" in own_stack.ok("up", "--json")
    ledger.settle()


@contextmanager
def older_collector(stack: Stack) -> Iterator[subprocess.Popen[bytes]]:
    """With the configuration that the project rendered before issue 5, as it stood in git, but for
    a processor that today's program is built without."""
    ports, home = stack.settings.ports, stack.home
    text = OLDER.read_text()
    for old, new in {
        "/home/member/.local/state/telemetry": str(home.path),
        ":4318": f":{ports.otlp_http}",
        ":4317": f":{ports.otlp_grpc}",
        ":8123": f":{ports.clickhouse_http}",
        ":13133": f":{ports.health}",
        "port: 8888": f"port: {ports.collector_metrics}",
    }.items():
        text = text.replace(old, new)
    config = yaml.safe_load(text)
    del config["processors"]["redaction"]
    for pipeline in config["service"]["pipelines"].values():
        pipeline["processors"] = [each for each in pipeline["processors"] if each != "redaction"]
    with collector(stack, "older", config, ports.health) as process:
        yield process
