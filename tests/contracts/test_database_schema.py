"""The schema that others build on is the one that a first `telemetry up` makes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from clickhouse_connect.driver.client import Client

from scripts import contracts, warehouse
from tests.conftest import Stack

pytestmark = pytest.mark.stack

WRITTEN = contracts.SCHEMA.read_text(encoding="utf-8")


@contextmanager
def administrator(stack: Stack) -> Iterator[Client]:
    client = warehouse.as_admin(stack.settings, stack.home.secrets())
    try:
        yield client
    finally:
        client.close_connections()


def test_the_written_schema_is_that_of_a_fresh_database(stack: Stack) -> None:
    with administrator(stack) as client:
        assert contracts.database_schema(client) == WRITTEN, "run `make contracts`"


def test_the_written_schema_makes_that_database(own_stack: Stack) -> None:
    """In its own order, from nothing."""
    own_stack.ok("up")
    statements = [text for text in re.split(r";\n+", WRITTEN) if text]
    with administrator(own_stack) as client:
        # Views first: those that refresh themselves write into tables.
        for kind, database, name in client.query(
            "SELECT if(endsWith(engine, 'View'), 'VIEW', 'TABLE') AS kind, database, name "
            "FROM system.tables WHERE startsWith(database, 'telemetry') "
            "AND NOT startsWith(name, '.') ORDER BY kind DESC"
        ).result_rows:
            client.command(f"DROP {kind} {database}.{name} SYNC")
        left = "SELECT count() FROM system.tables WHERE startsWith(database, 'telemetry')"
        assert client.command(left) == 0
        for statement in statements[2:]:  # the databases themselves are there
            client.command(statement)
        assert contracts.database_schema(client) == WRITTEN
