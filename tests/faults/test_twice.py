"""The same records come more than once: from the client, from the collector, on two ways."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from decimal import Decimal

import pytest
import yaml

from scripts import counters, warehouse
from stacks.embedded.processes import Layout
from tests import recorded
from tests.conftest import Stack, free_ports, until
from tests.faults.common import (
    TABLES,
    VERSION,
    Ledger,
    Sessions,
    collector,
    kill,
    supervisor,
)

pytestmark = pytest.mark.stack

UNNUMBERED = "2.0.65"
"""A version that does not number its events: each is known by a hash."""
TIMES = 3


@pytest.fixture
def other_port(own_stack: Stack) -> Iterator[int]:
    """Port of a second collector with the same secrets and rules, and a queue of its own."""
    own_stack.ok("up")
    http, grpc, health, metrics = free_ports(4)
    config = yaml.safe_load(Layout(own_stack.home).collector_config.read_text())
    protocols = config["receivers"]["otlp"]["protocols"]
    protocols["http"]["endpoint"], protocols["grpc"]["endpoint"] = (
        f"127.0.0.1:{http}",
        f"127.0.0.1:{grpc}",
    )
    config["extensions"]["health_check"]["endpoint"] = f"127.0.0.1:{health}"
    storage = config["extensions"]["file_storage/queue"]
    storage["directory"] = storage["compaction"]["directory"] = str(own_stack.home.path / "other")
    config["exporters"]["file/aside"]["path"] = str(own_stack.home.path / "other" / "aside.jsonl")
    [reader] = config["service"]["telemetry"]["metrics"]["readers"]
    reader["pull"]["exporter"]["prometheus"]["port"] = metrics
    with collector(own_stack, "other", config, health):
        yield http


def cost(found: list[recorded.Recorded]) -> Decimal:
    """As the client said, of each request to the API."""
    total = Decimal(0)
    for request in found:
        for attributes, _, _ in recorded.events(request):
            micros = attributes.get("cost_usd_micros")
            dollars = Decimal(str(attributes.get("cost_usd", 0)))
            total += Decimal(micros) / 10**6 if micros is not None else round(dollars, 9)
    return total


def delivered(stack: Stack) -> int:
    """Records that the collector has sent on since it started."""
    found = counters.samples(stack.settings)
    return sum(int(n) for name, _, n in found if name == "otelcol_exporter_sent_log_records")


def rows_of(stack: Stack, session: str) -> int:
    query = "SELECT count() FROM telemetry_events WHERE session_id = {session:String}"
    return int(stack.member(query, session=session)[0][0])


def test_what_comes_again_on_any_way_is_one_row_and_counted_once(
    own_stack: Stack, other_port: int
) -> None:
    found = [
        each
        for version in (VERSION, UNNUMBERED)
        for each in recorded.requests(version=version)
        if each.signal in TABLES
    ]
    sessions, ledger, own = Sessions(found), Ledger(own_stack), supervisor(own_stack)

    # From the client, on both ways.
    for request in sessions.again():
        for port in (0, 0, other_port, other_port):
            assert ledger.offer(request, port) == 200
    ledger.settle()

    # From the collector: its queue as it was before the delivery.
    own.halt("clickhouse")
    ledger.send(*sessions.again())
    own.halt("collector")
    queue = Layout(own_stack.home).queue
    kept = shutil.copytree(queue, own_stack.home.path / "kept")
    own.run("clickhouse")
    for _ in range(2):
        own.run("collector")
        until(lambda: delivered(own_stack) >= sessions.events)
        own.halt("collector")
        shutil.copytree(kept, queue, dirs_exist_ok=True)
    own.run("collector")
    ledger.settle()

    # From the collector, which may not learn any more that its batch went in.
    for _ in range(TIMES):
        [logs, metrics] = sessions.again()
        ledger.send(logs, metrics)
        [(session, _)] = logs.holds.most_common(1)
        until(lambda: rows_of(own_stack, session))  # noqa: B023
        kill(own_stack, "clickhouse")
        until(lambda: warehouse.answers(f"{warehouse.url(own_stack.settings)}/ping"))
    ledger.settle()

    told = cost(found) * (1 + 1 + TIMES)
    client = warehouse.as_admin(own_stack.settings, own_stack.home.secrets())
    for _ in range(2):
        for source in ("telemetry_events", "usage_daily", "sessions_daily", "daily_metrics"):
            weight = " * weight" if source == "telemetry_events" else ""
            [(summed,)] = own_stack.member(f"SELECT sum(cost_usd{weight}) FROM {source}")
            assert round(Decimal(summed), 6) == round(told, 6), source
        warehouse.refresh(client)
    client.close_connections()
