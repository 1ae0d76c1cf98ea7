"""A collector that is killed while it starts, again and again, with a queue that waits."""

from __future__ import annotations

import random
import subprocess
import time
import uuid
from collections import Counter

import pytest

from scripts import toolchain
from stacks.embedded.processes import Layout
from tests import made
from tests.conftest import Stack
from tests.faults.common import Ledger, Request, supervisor

pytestmark = pytest.mark.stack

DEATHS, REQUESTS = 6, 250
FINDS = "Fetching items left for dispatch"
"""What it says before it puts them at the end of its queue; it has none where the one before died
too soon to take any."""
READY = "Everything is ready"


def test_what_a_collector_had_in_hand_survives_deaths_at_the_start(own_stack: Stack) -> None:
    program = toolchain.programs(own_stack.settings).collector
    if program.origin != "built":
        pytest.skip(f"{program.path} is a published one, which lacks our patch")
    own_stack.ok("up")
    own = supervisor(own_stack)
    own.halt("clickhouse")
    ledger = Ledger(own_stack)
    for _ in range(REQUESTS):
        session = str(uuid.uuid4())
        body = made.request(made.log(session))
        ledger.send(Request("logs", body, Counter({session: 1})))
    own.halt("collector")
    chance, log = random.Random(20261129), own_stack.home.log / "early.log"
    for _ in range(DEATHS):
        with log.open("w") as stream:
            process = subprocess.Popen(
                [program.path, "--config", Layout(own_stack.home).collector_config],
                stdout=stream,
                stderr=stream,
            )
            while not any(sign in log.read_text() for sign in (FINDS, READY)):
                assert process.poll() is None
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
            process.wait()
    own_stack.ok("up")
    ledger.settle()
