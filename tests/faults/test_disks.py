"""A disk that fills up: that of the data alone, that of the queue alone, and both freed again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Stack, until
from tests.faults.common import Ledger, Sessions, disk, fill, status

pytestmark = pytest.mark.stack

MIB = 1024**2


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Of a stack with a small disk each for data and queue."""
    made = Stack(tmp_path_factory.mktemp("disks"))
    with disk(made.home.data, 600), disk(made.home.queue, 600):
        made.ok("up")
        yield Ledger(made)
        made.down()


def problems(stack: Stack) -> str:
    return "\n".join(status(stack)["problems"])


def test_events_wait_while_the_disk_of_the_data_is_full(ledger: Ledger) -> None:
    stack, sessions = ledger.stack, Sessions()
    ledger.send(*sessions.again())
    ledger.settle()
    filler = fill(stack.home.data, 64 * 1024)
    for _ in range(3):
        assert [ledger.offer(request) for request in sessions.again()] == [200, 200]
    until(lambda: "No space left" in (stack.home.log / "collector.log").read_text()
          or "NOT_ENOUGH_SPACE" in (stack.home.log / "collector.log").read_text())  # fmt: skip
    assert f"0 MiB are left at {stack.home.data}, and ClickHouse may take nothing" in problems(
        stack
    )
    filler.unlink()
    ledger.settle()


def test_the_port_is_closed_while_the_disk_of_the_queue_is_full(ledger: Ledger) -> None:
    stack, sessions = ledger.stack, Sessions()
    ledger.send(*sessions.again())
    filler = fill(stack.home.queue, 128 * MIB)
    late = [request for _ in range(3) for request in sessions.again()]
    until(lambda: ledger.offer(late[0]) == 0)
    assert f"MiB are left at {stack.home.queue}, and no collector until" in problems(stack)
    filler.unlink()
    ledger.send(*late)
    ledger.settle()
