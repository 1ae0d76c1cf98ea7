"""What must have reached the disk itself before something else that has it is forgotten.

No power is cut here: ClickHouse counts what it synced, a part at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.warehouse import names
from tests.conftest import Stack

pytestmark = pytest.mark.stack

TABLE = f"{names.DATABASE}.power_cut"


@pytest.fixture
def table(stack: Stack) -> Iterator[str]:
    stack.admin(f"CREATE TABLE {TABLE} (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    yield TABLE
    stack.admin(f"DROP TABLE {TABLE} SYNC")


def test_a_part_is_synced_before_those_it_was_made_of_are_removed(stack: Stack, table: str) -> None:
    assert stack.settings.queue.fsync
    for _ in range(2):
        stack.admin(f"INSERT INTO {table} SELECT number, 'x' FROM numbers(10)")
    stack.admin(f"OPTIMIZE TABLE {table} FINAL")
    stack.admin(f"ALTER TABLE {table} DELETE WHERE a < 5 SETTINGS mutations_sync = 2")
    stack.admin("SYSTEM FLUSH LOGS")
    synced = stack.admin(
        "SELECT event_type, min(ProfileEvents['FileSync']) > 0, "
        "min(ProfileEvents['DirectorySync']) > 0 FROM system.part_log "
        "WHERE concat(database, '.', table) = {table:String} "
        "AND event_type IN ('NewPart', 'MergeParts', 'MutatePart') GROUP BY event_type ORDER BY 1",
        table=table,
    )
    assert [tuple(row) for row in synced] == [
        ("NewPart", 1, 1),
        ("MergeParts", 1, 1),
        ("MutatePart", 1, 1),
    ]
