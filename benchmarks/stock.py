"""The baseline: the table that the collector's ClickHouse exporter makes when one lets it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clickhouse_connect.driver.client import Client

from benchmarks.stack import Stack
from infra.collector.config import render
from infra.warehouse import names
from scripts import toolchain, warehouse
from tests.conftest import free_ports, until

TABLE = "stock_otel_logs"
_QUERIES = Path(__file__).parent / "stock"


def create(stack: Stack, client: Client) -> None:
    """Have the collector itself make it, in our database: the administrator has no other."""
    [port] = free_ports(1)
    config = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {
            "clickhouse": {
                "endpoint": warehouse.url(stack.settings),
                "username": names.ADMIN_USER,
                "password": f"${{file:{stack.home.secrets_folder}/clickhouse-admin}}",
                "database": names.DATABASE,
                "create_schema": True,
                "logs_table_name": TABLE,
            }
        },
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            "pipelines": {"logs": {"receivers": ["otlp"], "exporters": ["clickhouse"]}},
        },
    }
    file = stack.home.run / "stock.yaml"
    file.write_text(render(config))
    program = toolchain.programs(stack.settings).collector.path
    collector = subprocess.Popen([program, "--config", file])
    try:
        until(lambda: client.command(f"EXISTS {names.DATABASE}.{TABLE}"))
    finally:
        collector.terminate()
        collector.wait(30)


@contextmanager
def fed(client: Client) -> Iterator[None]:
    """Meanwhile it gets every event that the collector inserts for us."""
    client.command(
        f"CREATE MATERIALIZED VIEW {names.DATABASE}.stock_fill TO {names.DATABASE}.{TABLE} "
        f"AS SELECT * FROM {names.DATABASE}.{names.LOGS_LANDING}"
    )
    yield
    client.command(f"DROP VIEW {names.DATABASE}.stock_fill")


def question(name: str) -> str | None:
    """The same question as a shipped query's, asked of the stock table; None: there is none."""
    file = _QUERIES / f"{name}.sql"
    return file.read_text(encoding="utf-8") if file.exists() else None
