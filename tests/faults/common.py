"""What the tests of faults share: recorded sessions once more, and what must be there of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from scripts import supervise, toolchain, warehouse
from stacks.embedded.processes import Layout
from tests import recorded
from tests.conftest import Stack, until
from tests.recorded import Recorded

VERSION = "2.1.330"
"""Of the client whose recorded sessions are sent."""
TABLES = {"logs": "telemetry_events", "metrics": "metric_points"}
_TIME = r'(?<=imeUnixNano": ")[0-9]+'


@dataclass(frozen=True)
class Request:
    """One OTLP request, and what it holds."""

    signal: str
    """logs or metrics"""
    body: bytes
    """JSON"""
    holds: Counter[str]
    """Records or points by session."""


def _sessions(found: Recorded) -> Counter[str]:
    if found.signal == "logs":
        return Counter(
            attributes.get("session.id", "") for attributes, _, _ in recorded.events(found)
        )
    return Counter(
        attributes.get("session.id", "") for _, _, attributes, _ in recorded.points(found)
    )


def _joined(found: Sequence[Recorded]) -> dict[str, Any]:
    [key] = {name for each in found for name in each.body}
    return {key: [outer for each in found for outer in each.body[key]]}


class Sessions:
    """Recorded requests, as often as wanted: each time under fresh session ids, and at other times.

    The requests of one signal are joined into one, which asks less of the sender.
    """

    def __init__(self, found: Sequence[Recorded] = ()) -> None:
        found = found or [
            each for each in recorded.requests(version=VERSION) if each.signal in TABLES
        ]
        self._parts: list[tuple[str, list[str], Counter[str]]] = []
        """Signal; text, in which every other piece is an id or a time; and what it holds."""
        self.events, self._latest = 0, 0
        for kind in TABLES:
            mine = [each for each in found if each.signal == kind]
            holds = sum(map(_sessions, mine), Counter[str]())
            if mine:
                ids = "|".join(sorted(filter(None, holds)))
                pieces = re.split(f"({_TIME}|{ids})", json.dumps(_joined(mine)))
                self._parts.append((kind, pieces, holds))
                self._latest = max(self._latest, *(int(t) for t in pieces[1::2] if t.isdigit()))
            self.events += holds.total() if kind == "logs" else 0

    def again(self, ago_s: float = 0) -> list[Request]:
        """Once more, the last record so many seconds ago."""
        delta = time.time_ns() - int(ago_s * 1e9) - self._latest
        fresh = {name: str(uuid.uuid4()) for _, _, holds in self._parts for name in holds if name}
        found = []
        for kind, pieces, holds in self._parts:
            text = list(pieces)
            text[1::2] = [fresh.get(each) or str(int(each) + delta) for each in pieces[1::2]]
            held = Counter({fresh.get(name, name): number for name, number in holds.items()})
            found.append(Request(kind, "".join(text).encode(), held))
        return found


def posted(stack: Stack, kind: str, body: bytes, port: int = 0) -> int:
    """Send one request, to the stack or to another port; the status, 0 where nobody answers."""
    address = f"http://127.0.0.1:{port or stack.settings.ports.otlp_http}/v1/{kind}"
    try:
        reply = urllib3.request(
            "POST",
            address,
            body=body,
            headers={"Content-Type": "application/json"},
            timeout=30,
            retries=False,
        )
    except urllib3.exceptions.HTTPError:
        return 0
    return int(reply.status)


@dataclass
class Ledger:
    """What was acknowledged, and whether each of it has one row. One a stack: records without a
    session are counted over all."""

    stack: Stack
    due: dict[str, Counter[str]] = field(
        default_factory=lambda: {kind: Counter() for kind in TABLES}
    )
    _acknowledged: set[bytes] = field(default_factory=set)

    def offer(self, request: Request, port: int = 0) -> int:
        """Send it once; noted if it was acknowledged, for the first time."""
        status = posted(self.stack, request.signal, request.body, port)
        if status == 200 and request.body not in self._acknowledged:
            self._acknowledged.add(request.body)
            self.due[request.signal] += request.holds
        return status

    def send(self, *requests: Request) -> None:
        """Send each until it is acknowledged, as a client does."""
        for request in requests:
            until(lambda: self.offer(request) == 200, 120)  # noqa: B023

    def stored(self) -> dict[str, Counter[str]]:
        """Rows by session, as the member reads them, of sessions that were acknowledged."""
        found = {}
        for kind, table in TABLES.items():
            rows = self.stack.member(f"SELECT session_id, count() FROM {table} GROUP BY 1")
            found[kind] = Counter({name: n for name, n in rows if name in self.due[kind]})
        return found

    def settle(self, seconds: float = 120) -> None:
        """Wait until all of it is there, once."""

        def all_there() -> bool:
            try:
                found = self.stored()
            except Exception:  # the server is just being started
                return False
            return all(found[kind].total() >= self.due[kind].total() for kind in TABLES)

        with suppress(AssertionError):  # what is missing is told below
            until(all_there, seconds)
        found = self.stored()
        for kind in TABLES:
            lost, doubled = self.due[kind] - found[kind], found[kind] - self.due[kind]
            assert not lost, f"{lost.total()} of {self.due[kind].total()} {kind} lost"
            assert not doubled, f"{doubled.total()} {kind} doubled"


def supervisor(stack: Stack) -> supervise.Supervisor:
    """The stack's supervisord."""
    return supervise.Supervisor(Layout(stack.home))


def kill(stack: Stack, name: str) -> int:
    """kill -9; the process id it had."""
    pid: int = until(lambda: stack.pid(name))  # it may just be starting again
    os.kill(pid, signal.SIGKILL)
    return pid


def status(stack: Stack) -> dict[str, Any]:
    """What `telemetry status` says, as data."""
    found: dict[str, Any] = json.loads(stack.run("status", "--json").stdout)
    return found


@contextmanager
def collector(
    stack: Stack, name: str, config: dict[str, Any], health: int
) -> Iterator[subprocess.Popen[bytes]]:
    """A collector besides supervisord's, with the same program; until it is killed at the end.
    `health`: its port for that."""
    file = stack.home.run / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config))
    program = toolchain.programs(stack.settings).collector.path
    with (stack.home.log / f"{name}.log").open("w") as log:
        process = subprocess.Popen([program, "--config", file], stdout=log, stderr=log)
    try:
        until(lambda: warehouse.answers(f"http://127.0.0.1:{health}/"))
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def disk(folder: Path, mib: int) -> Iterator[Path]:
    """A disk of its own, in memory."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Fill a disk but for `leave` bytes."""
    free = os.statvfs(folder)
    filler = folder / "filler"
    with filler.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(1, free.f_bavail * free.f_bsize - leave))
    return filler
