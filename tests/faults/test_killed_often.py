"""A hundred deaths at random, while events come in all the time."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
import uuid

import pytest
import urllib3

from scripts import supervise
from stacks.embedded.processes import Layout
from tests import made
from tests.conftest import Stack, until

pytestmark = pytest.mark.stack

DEATHS = 100
VICTIMS = [("collector",), ("clickhouse",), ("collector", "clickhouse")]
SENDERS, RECORDS = 2, 20


class Sender(threading.Thread):
    """A client: a session a request, each sent until it is acknowledged, and then not again."""

    def __init__(self, stack: Stack, done: threading.Event) -> None:
        super().__init__(daemon=True)
        self._stack, self._done = stack, done
        self.acknowledged: list[str] = []
        self.again = 0
        """Requests whose answer never came, or was to try again."""

    def run(self) -> None:
        while not self._done.is_set():
            session = str(uuid.uuid4())
            records = [
                made.log(session, attributes={"event.sequence": number})
                for number in range(RECORDS)
            ]
            body = made.request(*records)
            while not self._took(body):
                self.again += 1
                time.sleep(0.1)
            self.acknowledged.append(session)
            time.sleep(0.02)

    def _took(self, body: bytes) -> bool:
        try:
            return self._stack.post("logs", body) == 200
        except urllib3.exceptions.HTTPError:
            return False


def running(supervisor: supervise.Supervisor, name: str, dead: int) -> int:
    """Its process id; 0 while it is being started, or supervisord does not know yet that the last
    one is dead."""
    found = supervisor.states()[name]
    return found.pid if found.state == "RUNNING" and found.pid != dead else 0


def test_what_was_acknowledged_is_there_once_after_a_hundred_deaths(own_stack: Stack) -> None:
    own_stack.ok("up")
    chance, done = random.Random(20261129), threading.Event()
    senders = [Sender(own_stack, done) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    supervisor, deaths = supervise.Supervisor(Layout(own_stack.home)), 0
    dead = dict.fromkeys(("collector", "clickhouse"), 0)
    # On a busy machine little is acknowledged between two deaths; then there are some more.
    while deaths < DEATHS or sum(len(sender.acknowledged) for sender in senders) <= DEATHS:
        for name in chance.choice(VICTIMS):
            # One that dies at once is waited with before it is started again, longer each time.
            found = until(lambda: running(supervisor, name, dead[name]), 120)  # noqa: B023
            with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
                os.kill(found, signal.SIGKILL)
                dead[name], deaths = found, deaths + 1
        time.sleep(chance.uniform(0.0, 0.5))
    done.set()
    for sender in senders:
        sender.join(120)
        assert not sender.is_alive(), "no program answers any more"
    acknowledged = {session for sender in senders for session in sender.acknowledged}
    assert sum(sender.again for sender in senders) > 0, "nobody noticed"
    assert len(acknowledged) > DEATHS

    def stored() -> dict[str, tuple[int, int]]:
        query = "SELECT session_id, count(), uniqExact(seq) FROM telemetry_events GROUP BY 1"
        try:
            return {session: (rows, numbers) for session, rows, numbers in own_stack.member(query)}
        except Exception:  # the server is just being started again
            return {}

    wanted = dict.fromkeys(acknowledged, (RECORDS, RECORDS))
    until(lambda: sum(rows for rows, _ in stored().values()) >= RECORDS * len(wanted), 180)
    assert stored() == wanted
