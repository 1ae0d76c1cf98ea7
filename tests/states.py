"""States a stack may be in while somebody works; each is a context, and all is well after it."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol

import urllib3

from infra.settings import Settings
from scripts import pause, warehouse
from scripts.supervise import Supervisor
from stacks.embedded.processes import Layout
from stacks.home import Home
from tests import sessions

_MIB = 1024 * 1024


class Machine(Protocol):
    """A stack of plain processes that runs."""

    @property
    def settings(self) -> Settings: ...

    @property
    def home(self) -> Home: ...


def supervisor(machine: Machine) -> Supervisor:
    """Its supervisord."""
    return Supervisor(Layout(machine.home))


def well(machine: Machine) -> None:
    """Wait until both programs answer."""
    ports = machine.settings.ports
    for address in (
        f"http://127.0.0.1:{ports.health}/",
        f"http://127.0.0.1:{ports.clickhouse_http}/ping",
    ):
        assert warehouse.wait(address, 120), address


@contextmanager
def up(machine: Machine) -> Iterator[None]:
    """Nothing is wrong."""
    well(machine)
    yield


@contextmanager
def clickhouse_away(machine: Machine) -> Iterator[None]:
    """It is stopped; the collector queues."""
    supervisor(machine).halt("clickhouse")
    yield
    supervisor(machine).run("clickhouse")
    well(machine)


@contextmanager
def closed(machine: Machine) -> Iterator[None]:
    """The collector is stopped: nobody listens on its port."""
    supervisor(machine).halt("collector")
    yield
    supervisor(machine).run("collector")
    well(machine)


@contextmanager
def paused(machine: Machine) -> Iterator[None]:
    """By `telemetry pause`."""
    pause.pause(machine.settings, machine.home)
    yield
    pause.resume(machine.settings, machine.home)
    well(machine)


@contextmanager
def hanging(machine: Machine) -> Iterator[None]:
    """The collector is stopped in its tracks (SIGSTOP): its port takes connections, nobody answers.

    Nothing of ours can bring this about; a debugger or a frozen container can.
    """
    pid = _collector(machine)
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)
    well(machine)


@contextmanager
def collector_dying(machine: Machine) -> Iterator[None]:
    """It is killed, and again a moment after it has come back, and so on."""
    with _killing(machine, "collector"):
        yield
    well(machine)


@contextmanager
def clickhouse_dying(machine: Machine) -> Iterator[None]:
    """The same with ClickHouse."""
    with _killing(machine, "clickhouse"):
        yield
    well(machine)


@contextmanager
def full(machine: Machine) -> Iterator[None]:
    """ClickHouse is away and has been for so long that the queue is full of recorded sessions."""
    with clickhouse_away(machine):
        fill(machine)
        yield


def _collector(machine: Machine) -> int:
    """Process id of the collector itself; supervisord knows its guard's."""
    return int((machine.home.run / "collector.pid").read_text())


@contextmanager
def _killing(machine: Machine, name: str) -> Iterator[None]:
    """Meanwhile kill a program at random moments, some seconds after it has come back."""
    done = threading.Event()

    def kill() -> None:
        dead = 0
        while not done.wait(random.uniform(0.5, 2.5)):
            state = supervisor(machine).states()[name]
            if state.runs and state.pid != dead:
                with suppress(ProcessLookupError):  # it ended by itself just now
                    os.kill(state.pid, signal.SIGKILL)
                    dead = state.pid

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        done.set()
        killer.join()


STATES: dict[str, Callable[[Machine], AbstractContextManager[None]]] = {
    "up": up,
    "ClickHouse away": clickhouse_away,
    "ClickHouse killed again and again": clickhouse_dying,
    "collector killed again and again": collector_dying,
    "port closed": closed,
    "paused": paused,
    "collector hangs": hanging,
    "queue full": full,
}
"""By what people would call them."""


def fill(machine: Machine) -> None:
    """Send until the smallest request of either signal is refused for want of room.

    ClickHouse must be away, and `queue.maxMib` small.
    """
    door = urllib3.PoolManager()
    address = f"http://127.0.0.1:{machine.settings.ports.otlp_http}/v1"
    number = random.randrange(2**31)
    for name in ("logs", "metrics"):
        found = [
            request.template
            for session in sessions.sessions()
            for request in session.requests
            if request.signal == name
        ]
        one = min(found, key=len)
        for size in (4 * _MIB, _MIB // 4, _MIB // 64, 0):
            refused = 0
            while refused < 3:
                body = b""
                while len(body) <= size:
                    number += 1
                    body += sessions.numbered(found[number % len(found)] if size else one, number)
                reply = door.request(
                    "POST",
                    f"{address}/{name}",
                    body=body,
                    headers={"Content-Type": sessions.PROTOBUF},
                )
                assert reply.status in (200, 503), reply.status
                refused += reply.status == 503


def queued(machine: Machine) -> float:
    """Bytes that wait for ClickHouse, of logs and metrics."""
    address = f"http://127.0.0.1:{machine.settings.ports.collector_metrics}/metrics"
    text = urllib3.request("GET", address, timeout=30).data.decode()
    sizes = re.findall(r'^otelcol_exporter_queue_size{.*"clickhouse".*} (\S+)$', text, re.MULTILINE)
    return sum(map(float, sizes))
