"""What it costs that an acknowledged request survives a power cut (`queue.fsync`)."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from statistics import median

import urllib3
import yaml

from benchmarks import results
from benchmarks.running import Quantiles, quantiles
from benchmarks.stack import Stack, running
from infra.settings import load
from scripts.console import step
from scripts.up import up
from stacks.home import PROJECT
from tests import recorded
from tests.faults.common import VERSION, Sessions

_ROUNDS = 5
_SECONDS = 8
_CONNECTIONS = (1, 4)


@dataclass(frozen=True)
class _Answers:
    """Of requests sent for a while over some connections, one after another on each."""

    per_second: float
    latency: Quantiles


def _set(stack: Stack, fsync: bool) -> None:
    """As a member would: the collector's queue and ClickHouse follow the same setting."""
    file = stack.home.path / "settings.yaml"
    chosen = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**chosen, "queue": {"fsync": fsync}}))
    up(load(PROJECT, stack.home.path), stack.home)


def _typical() -> Sessions:
    """The recorded request of the median size."""
    found = sorted(recorded.requests("logs", VERSION), key=lambda each: len(str(each.body)))
    return Sessions([found[len(found) // 2]])


def _send(stack: Stack, sessions: Sessions, connections: int) -> _Answers:
    address = f"http://127.0.0.1:{stack.settings.ports.otlp_http}/v1/logs"
    door = urllib3.PoolManager(maxsize=connections)
    took: list[float] = []
    end = time.monotonic() + _SECONDS

    def send() -> None:
        while time.monotonic() < end:
            [request] = sessions.again()
            began = time.perf_counter()
            reply = door.request(
                "POST", address, body=request.body, headers={"Content-Type": "application/json"}
            )
            took.append(time.perf_counter() - began)
            assert reply.status == 200, reply.data

    threads = [threading.Thread(target=send) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _Answers(len(took) / _SECONDS, quantiles(took))


def measure() -> None:
    """Measure and write. One stack, with and without in turn: how fast a disk is changes."""
    sessions = _typical()
    found: dict[tuple[int, bool], list[_Answers]] = {}
    with running() as stack:
        for number in range(_ROUNDS):
            for fsync in (True, False):
                _set(stack, fsync)
                for connections in _CONNECTIONS:
                    title = f"Round {number + 1} of {_ROUNDS}, fsync {fsync}, {connections} at once"
                    with step(title):
                        answers = _send(stack, sessions, connections)
                    found.setdefault((connections, fsync), []).append(answers)
    results.write(
        "Power cuts",
        f"A request of {sessions.events} recorded events, sent over and over with fresh ids, by "
        f"one sender or by {_CONNECTIONS[-1]}, each waiting for the answer before the next. "
        "`queue.fsync` on and off in turn, on the same stack and disk (that of the temporary "
        f"folder), {_ROUNDS} times over, each for {_SECONDS} s. Shown are medians over the rounds; "
        "*ratio* is that of the rates, on to off in the same round (least to most).",
        results.table(
            ("senders", "fsync", "acknowledged a second", "p50 ms", "p99 ms", "ratio"),
            [
                (
                    str(connections),
                    "on" if fsync else "off",
                    f"{median(each.per_second for each in answers):,.0f}",
                    f"{median(each.latency.p50 for each in answers):.1f}",
                    f"{median(each.latency.p99 for each in answers):.1f}",
                    _ratio(answers, found[connections, False]) if fsync else "",
                )
                for (connections, fsync), answers in found.items()
            ],
        ),
    )


def _ratio(on: list[_Answers], off: list[_Answers]) -> str:
    ratios = [a.per_second / b.per_second for a, b in zip(on, off, strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
