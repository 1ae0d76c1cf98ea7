"""Many sessions at once: how soon each request is acknowledged and readable, how many sessions it
takes until the stack no longer keeps up, and what becomes of what was acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import random
import resource
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from clickhouse_connect.driver.client import Client

from benchmarks import results
from benchmarks.running import quantiles
from benchmarks.stack import Stack, running
from infra.warehouse import names
from scripts import warehouse
from scripts.console import step
from scripts.supervise import PROGRAMS
from tests import sessions, states
from tests.conftest import until

_ONE, _GOAL = 1, 10
_STEPS = (_ONE, _GOAL, *(_GOAL * 2**power for power in range(1, 10)))
"""Sessions at once; the last one tried is the one after the first that does not keep up."""
_SECONDS, _GOAL_SECONDS = 20, 60
_KEEPS_UP = 0.9
"""Of the requests that a step's sessions would make: below that, it does not."""
_AGAIN_SECONDS = 1
"""After which the client sends again what was answered 503."""
_ANSWER_MS = 50
_PATIENCE_SECONDS = 300
_PROBES_A_SECOND = 10
_TABLES = {"logs": names.EVENTS, "metrics": "metric_points"}


@dataclass
class Step:
    """So many sessions at once, for a while."""

    at_once: int
    seconds: float = 0
    asked: int = 0
    """Requests that these sessions would have made, had each been answered at once."""
    acknowledged: list[float] = field(default_factory=list)
    """Seconds until each request that was acknowledged was."""
    readable: list[float] = field(default_factory=list)
    """Seconds from then on until a member's query found its last event, of some."""
    rows: Counter[str] = field(default_factory=Counter)
    """Acknowledged, by signal."""
    refused: int = 0
    """Answered 503, and sent again."""
    queued_bytes: float = 0
    """At most, in both queues."""
    drained: float = 0
    """Seconds until they were empty, once nobody sent any more."""
    cores: dict[str, float] = field(default_factory=dict)
    """That each program and the sender used."""

    @property
    def keeps_up(self) -> bool:
        """Whether all were taken as they came."""
        return not self.refused and len(self.acknowledged) >= _KEEPS_UP * self.asked


class Door:
    """One connection to the collector, as a client keeps it."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> None:
        """Connect."""
        self._in, self._out = await asyncio.open_connection("127.0.0.1", self._port)

    async def post(self, signal: str, body: bytes) -> int:
        """Send a request; the status of its answer."""
        head = (
            f"POST /v1/{signal} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: {sessions.PROTOBUF}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._out.write(head.encode() + body)
        first, *lines = (await self._in.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines if line)
        await self._in.readexactly(int(fields["content-length"]))
        return int(first.split()[1])

    def close(self) -> None:
        """Hang up."""
        self._out.close()


class Watch(threading.Thread):
    """Asks as a member for the last events of some requests, and looks at the queues."""

    def __init__(self, stack: Stack, now: Step) -> None:
        super().__init__()
        self._stack, self._now = stack, now
        self._client = warehouse.as_member(stack.settings, stack.home.secrets())
        self._waiting: dict[tuple[str, int], float] = {}
        self._new: deque[tuple[str, int, float]] = deque()
        self._last = 0.0
        self.done = threading.Event()

    def sent(self, session: str, seq: int, at: float) -> None:
        """An event was acknowledged; some of them are looked for."""
        if at - self._last > 1 / _PROBES_A_SECOND:
            self._last = at
            self._new.append((session, seq, at))

    def run(self) -> None:
        """Until all that were sent are found; not for ever, since the count tells of loss."""
        looked = 0.0
        while not self.done.is_set() or (
            (self._waiting or self._new) and time.monotonic() < self._last + _PATIENCE_SECONDS
        ):
            while self._new:
                session, seq, at = self._new.popleft()
                self._waiting[session, seq] = at
            if self._waiting:
                self._look()
            if time.monotonic() - looked > 1:
                looked = time.monotonic()
                self._now.queued_bytes = max(self._now.queued_bytes, states.queued(self._stack))
            time.sleep(0.01)
        self._client.close_connections()

    def _look(self) -> None:
        wanted = ", ".join(f"('{session}', {seq})" for session, seq in self._waiting)
        rows = self._client.query(
            f"SELECT session_id, seq FROM {names.EVENTS} "
            f"WHERE ts > now() - INTERVAL 1 HOUR AND (session_id, seq) IN ({wanted})"
        ).result_rows
        at = time.monotonic()
        for session, seq in rows:
            self._now.readable.append(at - self._waiting.pop((session, seq)))


def _measure(stack: Stack, at_once: int, seconds: float, numbers: itertools.count[int]) -> Step:
    found = Step(at_once)
    recorded = sessions.sessions()
    watch = Watch(stack, found)
    watch.start()
    used, began = _cpu(stack), time.monotonic()
    asyncio.run(_everybody(stack, found, watch, recorded, began + seconds, numbers))
    found.seconds = time.monotonic() - began
    found.cores = {
        name: (seconds - used[name]) / found.seconds for name, seconds in _cpu(stack).items()
    }
    watch.done.set()
    watch.join()
    until(lambda: not states.queued(stack), 600)
    found.drained = time.monotonic() - began - found.seconds
    return found


def _cpu(stack: Stack) -> dict[str, float]:
    """CPU seconds so far, the sender's among them."""
    found = stack.cpu()
    return {**{name: found[name] for name in PROGRAMS}, "sender": time.process_time()}


def _due(order: list[sessions.Session], seconds: float) -> int:
    """Requests that sessions, one after another, make in that time."""
    count, began = 0, 0.0
    for session in itertools.cycle(order):
        for request in session.requests:
            if began + request.after > seconds:
                return count
            count += 1
        began += session.requests[-1].after
    return count


async def _everybody(
    stack: Stack,
    now: Step,
    watch: Watch,
    recorded: list[sessions.Session],
    end: float,
    numbers: itertools.count[int],
) -> None:
    """Sessions at once, each followed by another one, at the pace they were recorded with."""

    async def one_after_another() -> None:
        door = Door(stack.settings.ports.otlp_http)
        await door.open()
        # Those who work at once did not begin at once.
        await asyncio.sleep(random.uniform(0, 0.5))
        order = random.sample(recorded, len(recorded))
        now.asked += _due(order, end - time.monotonic())
        for session in itertools.cycle(order):
            number, began = next(numbers), time.monotonic()
            for request in session.requests:
                due = began + request.after
                if max(due, time.monotonic()) > end:
                    door.close()
                    return
                await asyncio.sleep(due - time.monotonic())
                body = sessions.numbered(request.template, number)
                while True:
                    sent = time.monotonic()
                    status = await door.post(request.signal, body)
                    answered = time.monotonic()
                    if status == 200:
                        break
                    assert status == 503, status
                    now.refused += 1
                    await asyncio.sleep(_AGAIN_SECONDS)
                now.acknowledged.append(answered - sent)
                now.rows[request.signal] += request.rows
                if request.signal == "logs":
                    watch.sent(session.id(number), request.last, answered)

    await asyncio.gather(*(one_after_another() for _ in range(now.at_once)))


def _stored(client: Client) -> dict[str, int]:
    """Rows as the member sees them, by signal."""
    return {
        signal: int(str(client.command(f"SELECT count() FROM {table}")))
        for signal, table in _TABLES.items()
    }


def measure() -> None:
    """Measure and write."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    numbers = itertools.count(1)
    found: list[Step] = []
    with running() as stack:
        member = warehouse.as_member(stack.settings, stack.home.secrets())
        before = _stored(member)
        for at_once in _STEPS:
            seconds = _GOAL_SECONDS if at_once == _GOAL else _SECONDS
            with step(f"{at_once} sessions at once for {seconds} s"):
                found.append(_measure(stack, at_once, seconds, numbers))
            if [each.keeps_up for each in found[-2:]] == [False, False]:
                break
        with (
            stack.without_fsync(),
            step(f"{found[-1].at_once} sessions at once, nothing synced to disk"),
        ):
            unsynced = _measure(stack, found[-1].at_once, _SECONDS, numbers)
        found.append(unsynced)
        acknowledged = {signal: sum(each.rows[signal] for each in found) for signal in _TABLES}
        stored = {signal: count - before[signal] for signal, count in _stored(member).items()}
        member.close_connections()
    _write(found[:-1], unsynced, acknowledged, stored)


def _verdict(well: bool) -> str:
    return "reached" if well else "**missed**"


def _write(
    found: list[Step], unsynced: Step, acknowledged: dict[str, int], stored: dict[str, int]
) -> None:
    [goal] = [each for each in found if each.at_once == _GOAL]
    [one] = [each for each in found if each.at_once == _ONE]
    kept = [each for each in found if each.keeps_up]
    broken = [each for each in found if not each.keeps_up]
    answered, readable = quantiles(goal.acknowledged), quantiles(goal.readable)
    alone = quantiles(one.acknowledged), quantiles(one.readable)
    results.write(
        "Load",
        results.table(
            ("goal", "measured", "verdict"),
            [
                (
                    f"{_GOAL} sessions at once: no request refused",
                    f"{goal.refused} of {len(goal.acknowledged):,}",
                    _verdict(not goal.refused),
                ),
                (
                    f"{_GOAL} sessions at once: acknowledged within {_ANSWER_MS} ms (p99)",
                    f"{answered.p99:.1f} ms",
                    _verdict(answered.p99 <= _ANSWER_MS),
                ),
                (
                    "after all of it, what was acknowledged is stored, once",
                    ", ".join(
                        f"{stored[signal]:,} of {acknowledged[signal]:,} rows of {signal}"
                        for signal in _TABLES
                    ),
                    _verdict(stored == acknowledged),
                ),
            ],
        ),
        f"With {_GOAL} sessions a request is acknowledged after {answered.p50:.1f} ms (p50, p99 "
        f"{answered.p99:.1f}) and a member's query finds its last event {readable.p50:.0f} ms "
        f"later (p99 {readable.p99:.0f}); with one session alone {alone[0].p50:.1f} ms and "
        f"{alone[1].p50:.0f} ms (ratio {answered.p50 / alone[0].p50:.1f} and "
        f"{readable.p50 / alone[1].p50:.1f}).",
        f"Sessions are those recorded of Claude Code {sessions.VERSION}, as `telemetry env` has it "
        "send, each with ids of its own and times of now: one after another without a pause, at "
        "the pace of the recordings, in which the API answered at once, so that one makes "
        f"{goal.asked / goal.seconds / _GOAL:.1f} requests a second. With the intervals that "
        "`telemetry env` sets a person's session makes 0.6 at most. Each step lasts "
        f"{_SECONDS} s (that of {_GOAL} sessions {_GOAL_SECONDS} s), and the next one begins when "
        "the queues are empty. The sender shares the machine. The last line is with "
        "`queue.fsync: false`.",
        results.table(
            (
                "sessions at once",
                "requests/s asked",
                "acknowledged/s",
                "events/s",
                "503",
                "acknowledged ms, p50 / p99",
                "readable ms, p50 / p99",
                "queue MiB",
                "empty after s",
                *(f"cores: {name}" for name in one.cores),
            ),
            [
                (
                    f"{each.at_once}{', not synced' if each is unsynced else ''}",
                    f"{each.asked / each.seconds:.0f}",
                    f"{len(each.acknowledged) / each.seconds:.0f}",
                    f"{each.rows['logs'] / each.seconds:,.0f}",
                    f"{each.refused}",
                    quantiles(each.acknowledged).both(1),
                    quantiles(each.readable).both(0),
                    f"{each.queued_bytes / 1024**2:.2f}",
                    f"{each.drained:.1f}",
                    *(f"{cores:.2f}" for cores in each.cores.values()),
                )
                for each in (*found, unsynced)
            ],
        ),
        _told(kept, broken, unsynced),
    )


def _told(kept: list[Step], broken: list[Step], unsynced: Step) -> str:
    """What happens past the last step that the stack keeps up with."""
    if not broken:
        return f"It kept up with all of them: more than {kept[-1].at_once} sessions were not tried."
    first, last = broken[0], broken[-1]
    refused = sum(each.refused for each in broken)
    return (
        f"It does not keep up with {first.at_once}: of {first.asked:,} requests "
        f"{len(first.acknowledged):,} are taken in time. Then answers become slower, so that each "
        "client waits with its next request; "
        + (f"{refused:,} were answered 503 and sent again. " if refused else "none is refused. ")
        + f"Of {last.at_once} sessions {len(last.acknowledged):,} requests are taken, without a "
        f"sync of each {len(unsynced.acknowledged):,}."
    )
