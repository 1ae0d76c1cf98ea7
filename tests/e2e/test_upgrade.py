"""A database of an earlier version keeps every event, wherever its upgrade was interrupted."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client

from infra.warehouse import migrations, names
from scripts import warehouse
from tests import recorded
from tests.conftest import Stack, until

pytestmark = pytest.mark.stack

FIRST = tuple(file for file in migrations.migrations() if file.name < "0004")
[REBUILD] = [file for file in migrations.migrations() if file.name.startswith("0004")]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("upgrade"))
    made.ok("up")
    yield made
    made.down()


def run(client: Client, statements: tuple[str, ...]) -> None:
    for statement in statements:
        client.command(statement)


def as_it_was(client: Client) -> None:
    """The database of a version that had the first three files only, with nothing in it."""
    tables = client.query(
        "SELECT name FROM system.tables WHERE database = 'telemetry' "
        f"AND name != '{names.MIGRATIONS}' ORDER BY engine NOT LIKE '%View' , name"
    )
    for (name,) in tables.result_rows:
        client.command(f"DROP TABLE IF EXISTS telemetry.`{name}` SYNC")
    client.command(f"TRUNCATE TABLE telemetry.{names.MIGRATIONS}")
    for file in FIRST:
        run(client, file.statements)


@pytest.mark.parametrize("done", range(len(REBUILD.statements) + 1))
def test_no_event_is_lost_wherever_the_rebuild_is_interrupted(stack: Stack, done: int) -> None:
    client = warehouse.as_admin(stack.settings, stack.home.secrets())
    try:
        as_it_was(client)
        before, between = recorded.shifted(list(recorded.requests("logs", "2.1.330"))[:2])
        for request, statements in ((before, ()), (between, REBUILD.statements[:done])):
            run(client, statements)
            assert stack.post("logs", json.dumps(request.body).encode()) == 200
            sent = sum(1 for _ in recorded.events(request))
            sessions = {attributes["session.id"] for attributes, _, _ in recorded.events(request)}
            until(lambda: stored(client, sessions) == sent)  # noqa: B023
        run(client, REBUILD.statements)
        for request in (before, between):
            sent = sum(1 for _ in recorded.events(request))
            sessions = {attributes["session.id"] for attributes, _, _ in recorded.events(request)}
            assert stored(client, sessions) == sent
        [(typed, still_loose)] = client.query(
            "SELECT countIf(os_version != ''), countIf(mapContains(extra, 'os.version')) "
            "FROM telemetry.telemetry_events"
        ).result_rows
        assert (typed > 0, still_loose) == (True, 0)
    finally:
        client.close_connections()


def stored(client: Client, sessions: set[str]) -> int:
    counted = client.command(
        "SELECT count() FROM telemetry.telemetry_events "
        "WHERE has({sessions:Array(String)}, session_id)",
        parameters={"sessions": sorted(sessions)},
    )
    return int(str(counted))
