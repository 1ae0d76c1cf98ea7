"""Either program may die at any moment; what was acknowledged is there afterwards, once."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from scripts import supervise
from stacks.embedded.processes import Layout
from tests import recorded
from tests.conftest import Stack, until
from tests.faults.common import kill
from tests.recorded import Recorded

pytestmark = pytest.mark.stack


def batches(count: int) -> list[Recorded]:
    """Recorded log requests of clients with and without a sequence, times shifted to now."""
    return recorded.shifted(list(recorded.requests("logs"))[:count])


def total(sent: list[Recorded]) -> int:
    return sum(1 for request in sent for _ in recorded.events(request))


def stored(stack: Stack) -> int:
    try:
        [(found,)] = stack.member("SELECT count() FROM telemetry_events")
    except Exception:  # the server is just being restarted
        return -1
    return int(found)


def alive(pid: int) -> bool:
    """Whether a process runs (one that nobody collects stays listed, dead)."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_what_was_acknowledged_survives_kill_9_of_either_program(own_stack: Stack) -> None:
    own_stack.ok("up")
    requests = batches(60)
    acknowledged: list[Recorded] = []
    for number, request in enumerate(requests):
        if number % 20 == 5:
            dead = kill(own_stack, "clickhouse")
        if number % 20 == 15:
            dead = kill(own_stack, "collector")
            until(lambda: own_stack.pid("collector") not in (0, dead))  # noqa: B023

        def send() -> bool:
            try:
                return own_stack.post("logs", json.dumps(request.body).encode()) == 200  # noqa: B023
            except Exception:  # not acknowledged: the client tries again
                return False

        until(send)
        acknowledged.append(request)
    until(lambda: stored(own_stack) >= total(acknowledged), 60)
    assert stored(own_stack) == total(acknowledged), "nothing lost, nothing doubled"


def test_a_killed_supervisord_leaves_nothing_that_blocks_the_next_up(own_stack: Stack) -> None:
    own_stack.ok("up")
    layout = Layout(own_stack.home)
    old = int(layout.supervisor_pid.read_text())
    collector = own_stack.pid("collector")
    os.kill(old, signal.SIGKILL)
    until(lambda: not supervise.Supervisor(layout).alive())
    own_stack.ok("up")
    assert own_stack.pid("collector") != collector
    assert not alive(collector)
    assert own_stack.run("status").returncode == 0


def test_a_stale_pid_file_does_not_stop_up(own_stack: Stack) -> None:
    own_stack.ok("up")
    own_stack.ok("down")
    layout = Layout(own_stack.home)
    layout.supervisor_pid.write_text(f"{os.getpid()}\n")
    supervise.socket(layout).write_text("")
    own_stack.ok("up")
    assert own_stack.run("status").returncode == 0
    assert int(layout.supervisor_pid.read_text()) != os.getpid()


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"\0garbage" * 4096,
        lambda data: data[:5000],
        lambda data: data[:8192] + b"\xff" * (len(data) - 8192),
    ],
    ids=["overwritten", "cut short", "pages overwritten"],
)
def test_a_damaged_queue_file_is_set_aside_and_reported(
    own_stack: Stack, damage: Callable[[bytes], bytes]
) -> None:
    own_stack.ok("up")
    own_stack.ok("down")
    queue: Path = own_stack.home.queue / "collector" / "exporter_clickhouse__logs"
    assert queue.exists()
    queue.write_bytes(damage(queue.read_bytes()))
    own_stack.ok("up")
    [request] = batches(1)
    assert own_stack.post("logs", json.dumps(request.body).encode()) == 200
    until(lambda: stored(own_stack) == total([request]))
    time.sleep(6)  # until the collector counts as settled
    status = json.loads(own_stack.run("status", "--json").stdout)
    [aside] = status["set_aside_queue_files"]
    assert "exporter_clickhouse__logs" in aside, "the damaged one, not its neighbour"
    assert any("queue" in problem for problem in status["problems"])


def test_events_wait_on_disk_while_clickhouse_is_away(own_stack: Stack) -> None:
    own_stack.ok("up")
    supervisor = supervise.Supervisor(Layout(own_stack.home))
    supervisor.halt("clickhouse")
    requests = batches(10)
    for request in requests:
        assert own_stack.post("logs", json.dumps(request.body).encode()) == 200
    kill(own_stack, "collector")
    until(lambda: own_stack.pid("collector"))
    own_stack.ok("up")
    until(lambda: stored(own_stack) >= total(requests), 60)
    assert stored(own_stack) == total(requests)
