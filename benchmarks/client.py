"""Whether Claude Code is slowed: the real client's turn and exit, and the collector's answers, in
every state a stack may be in."""

from __future__ import annotations

import itertools
import os
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from benchmarks import results, terminal
from benchmarks.running import Quantiles, quantiles
from benchmarks.stack import Stack, running
from infra import client
from scripts import env, prepare_tests
from scripts.console import step
from tests import api, claude, sessions, states

ROUNDS = 6
_IN_TERMINAL = 3
"""Of these rounds, so many also in a terminal."""
_TOOLS, _THINKS_SECONDS = 3, 0.7
"""A turn of four requests and some three seconds, longer than the client waits before it sends."""
_OFF, _FULL, _HANGS = "telemetry off", "queue full", "collector hangs"
_EXIT_SECONDS, _TURN_SECONDS, _ANSWER_MS = 1.0, 0.1, 50
"""Goals: how much later an exit and a turn's last answer may be, and 99 of 100 answers."""
_SENDERS, _A_SECOND, _SECONDS = 4, 12.5, 10
"""Each sends so many requests a second, for so long."""
_PAGE = 4096
_SMALL = {"queue": {"maxMib": 64}}


@dataclass
class Seen:
    """Of the client, in one state."""

    turns: list[claude.Turn] = field(default_factory=list)
    """In print mode."""
    exits: list[float] = field(default_factory=list)
    """Seconds that `/exit` took in a terminal, after a turn."""


def _watch(stack: Stack, narrow: Stack, rounds: int) -> dict[str, Seen]:
    """The client by state: one of each in turn, in another order each time."""
    chance = random.Random(0)
    found = {name: Seen() for name in (_OFF, *states.STATES)}
    with (
        step("Turns of the client") as shown,
        tempfile.TemporaryDirectory() as home,
        api.Api(_TOOLS, _THINKS_SECONDS) as stand_in,
        api.Api(1, _THINKS_SECONDS) as shorter,
    ):
        folder = Path(home)

        def variables(one: Stack | None) -> dict[str, str]:
            told = env.variables(one.settings, one.home, folder) if one else client.disabled()
            return {each.name: each.value for each in told}

        claude.turn(stand_in, folder, variables(None))  # the first one makes its home
        for number in range(rounds):
            for name in chance.sample(sorted(found), len(found)):
                shown.update(f"round {number + 1} of {rounds}: {name}")
                one = {_OFF: None, _FULL: narrow}.get(name, stack)
                with states.STATES[name](stack) if one is stack else nullcontext():
                    turn = claude.turn(stand_in, folder, variables(one))
                    if number < _IN_TERMINAL:
                        left = terminal.leave(shorter, folder, variables(one))
                        found[name].exits.append(left)
                assert (turn.answer, turn.code, turn.errors) == (api.ANSWER, 0, ""), turn
                found[name].turns.append(turn)
    return found


@dataclass
class Answers:
    """What a state's requests were answered."""

    seconds: list[float] = field(default_factory=list)
    """Until each answer."""
    status: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    """Nobody listened, or the collector died over it."""
    synced: list[float] = field(default_factory=list)
    """Seconds that each plain write and sync to the same disk took meanwhile."""

    @property
    def quantiles(self) -> Quantiles:
        """Of the time until an answer."""
        return quantiles(self.seconds)


def _ask(stack: Stack) -> Answers:
    """Recorded sessions from several senders at an even pace, each as a new one."""
    requests = [request for each in sessions.sessions() for request in each.requests]
    address = f"http://127.0.0.1:{stack.settings.ports.otlp_http}/v1"
    numbers = itertools.count(random.randrange(2**31))
    found = Answers()

    def send(first: float) -> None:
        door = urllib3.PoolManager(retries=False, timeout=30)
        due = first
        while due < began + _SECONDS:
            time.sleep(max(0, due - time.monotonic()))
            number = next(numbers)
            one = requests[number % len(requests)]
            sent = time.monotonic()
            try:
                reply = door.request(
                    "POST",
                    f"{address}/{one.signal}",
                    body=sessions.numbered(one.template, number),
                    headers={"Content-Type": sessions.PROTOBUF},
                )
            except urllib3.exceptions.HTTPError:
                found.unanswered += 1
            else:
                found.seconds.append(time.monotonic() - sent)
                found.status[reply.status] += 1
            due = max(due + 1 / _A_SECOND, time.monotonic())

    def sync() -> None:
        with tempfile.TemporaryFile(dir=stack.home.path, buffering=0) as stream:
            while time.monotonic() < began + _SECONDS:
                stream.seek(0)
                stream.write(os.urandom(_PAGE))
                wrote = time.monotonic()
                os.fsync(stream.fileno())
                found.synced.append(time.monotonic() - wrote)
                time.sleep(1 / _SENDERS / _A_SECOND)

    began = time.monotonic()
    threads = [
        threading.Thread(target=sync),
        *(
            threading.Thread(target=send, args=(began + each / _A_SECOND / _SENDERS,))
            for each in range(_SENDERS)
        ),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@contextmanager
def _busy_disk(stack: Stack) -> Iterator[None]:
    """Somebody else writes to the queue's disk all the time, and waits for it each time."""
    done = threading.Event()

    def write() -> None:
        with tempfile.TemporaryFile(dir=stack.home.path) as stream:
            while not done.is_set():
                stream.seek(0)
                stream.write(os.urandom(4 * 1024 * 1024))
                stream.flush()
                os.fsync(stream.fileno())

    writer = threading.Thread(target=write)
    writer.start()
    yield
    done.set()
    writer.join()


def _answers(stack: Stack, narrow: Stack) -> dict[str, Answers]:
    """Of the collector, by state; where it is not there or hangs, it gives none."""
    asked: dict[str, Callable[[Stack], AbstractContextManager[None]]] = {
        name: states.STATES[name]
        for name in states.STATES
        if name not in (_FULL, _HANGS, "port closed", "paused")
    }
    asked |= {"up, the disk busy": _busy_disk, "up, `queue.fsync: false`": Stack.without_fsync}
    found = {}
    for name, state in asked.items():
        with step(f"Asking the collector, {name}"), state(stack):
            found[name] = _ask(stack)
    with step(f"Asking the collector, {_FULL}"):
        found[_FULL] = _ask(narrow)
        assert set(found[_FULL].status) == {503}
    return found


def measure(rounds: int) -> None:
    """Measure and write."""
    prepare_tests.client()
    with running() as stack, running(**_SMALL) as narrow, states.clickhouse_away(narrow):
        with step("Filling a queue"):
            states.fill(narrow)
        seen = _watch(stack, narrow, rounds)
        answers = _answers(stack, narrow)
    _write(seen, answers)


def _verdict(well: bool) -> str:
    return "reached" if well else "**missed**"


def _write(seen: dict[str, Seen], answers: dict[str, Answers]) -> None:
    off = seen[_OFF]
    turn, leaving = (statistics.median(each) for each in (_turn(off), _leaving(off)))
    exiting = statistics.median(off.exits)
    on = {name: each for name, each in seen.items() if name != _OFF}
    later = {
        name: max(max(_leaving(each)) - leaving, max(each.exits) - exiting)
        for name, each in on.items()
    }
    slower = {name: statistics.median(_turn(each)) - turn for name, each in on.items()}
    slowest = {name: each.quantiles.p99 for name, each in answers.items()}
    last, slow, late = (max(each, key=each.__getitem__) for each in (later, slower, slowest))
    results.write(
        "Claude Code is not slowed",
        results.table(
            ("goal", "measured", "verdict"),
            [
                (
                    f"exit at most {_EXIT_SECONDS:g} s later in every state (the latest of all "
                    "against the median without telemetry)",
                    f"{later[last]:.2f} s ({last})",
                    _verdict(later[last] <= _EXIT_SECONDS),
                ),
                (
                    f"the turn itself at most {_TURN_SECONDS * 1000:.0f} ms longer in every state "
                    "(medians, until the API's last answer)",
                    f"{slower[slow] * 1000:.0f} ms ({slow})",
                    _verdict(slower[slow] <= _TURN_SECONDS),
                ),
                (
                    f"the collector answers within {_ANSWER_MS} ms in every state (p99)",
                    f"{slowest[late]:.1f} ms ({late})",
                    _verdict(slowest[late] <= _ANSWER_MS),
                ),
            ],
        ),
        "### The client's turn",
        f"Claude Code {sessions.VERSION} with what `telemetry env` sets, against a stand-in API on "
        f"loopback that thinks {_THINKS_SECONDS:g} s over each answer. `claude -p`: {_TOOLS} calls "
        f"of Bash, then a sentence; {len(off.turns)} turns in each state, one of each in turn. All "
        "gave the same answer, wrote nothing to stderr and ended with 0. *Turn*: from its start "
        "until the API's last answer. *Pause*: the longest from an answer of the API to the next "
        "request, with the tool run in between. *Exit*: from the last answer until the process had "
        f"ended. *In a terminal*: `/exit` after a turn, {len(off.exits)} of each. Median / slowest "
        "of all, in ms.",
        results.table(
            ("state", "turn", "pause", "exit", "exit later by", "in a terminal", "later by"),
            [
                (
                    name,
                    _both(_turn(each)),
                    _both([max(one.between) for one in each.turns]),
                    _both(_leaving(each)),
                    _both([one - leaving for one in _leaving(each)]),
                    _both(each.exits),
                    _both([one - exiting for one in each.exits]),
                )
                for name, each in seen.items()
            ],
        ),
        "A collector that hangs is one stopped by SIGSTOP: nothing of ours brings that about, and "
        "nothing can exclude it. Then, and where the queue is full, the client waits for its last "
        "events as long as `CLAUDE_CODE_OTEL_SHUTDOWN_TIMEOUT_MS` says, and drops them.",
        "### The collector's answers",
        f"Recorded requests of {sessions.VERSION}, each as of a new session, from {_SENDERS} "
        f"senders, {_SENDERS * _A_SECOND:.0f} a second for {_SECONDS} s in each state, each synced "
        "to disk but for the one state. *Unanswered*: nobody listened, or the collector was killed "
        "over it. *Disk busy*: somebody else writes 4 MiB at a time to the same disk, and syncs. "
        "*Plain sync*, the baseline: 4 KiB written and synced beside it, as often as requests "
        "came.",
        results.table(
            (
                "state",
                "p50 / p99 ms",
                "slowest ms",
                "200",
                "503",
                "unanswered",
                "plain sync, p50 / p99 ms",
            ),
            [
                (
                    name,
                    each.quantiles.both(1),
                    f"{max(each.seconds) * 1000:.1f}",
                    f"{each.status[200]}",
                    f"{each.status[503]}",
                    f"{each.unanswered}",
                    quantiles(each.synced).both(1),
                )
                for name, each in answers.items()
            ],
        ),
    )


def _turn(seen: Seen) -> list[float]:
    return [each.seconds - each.leaving for each in seen.turns]


def _leaving(seen: Seen) -> list[float]:
    return [each.leaving for each in seen.turns]


def _both(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} / {max(seconds) * 1000:.0f}"
