"""Secrets at random places of recorded requests, with and without texts: none is written."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.collector import rules
from scripts import supervise
from stacks.embedded.processes import Layout
from tests.conftest import Stack
from tests.sanitize import planted, samples

pytestmark = pytest.mark.stack

SECRETS, REQUESTS = planted.secrets(), planted.requests()


@pytest.fixture(scope="module", params=[rules.LEVELS[0], rules.LEVELS[-1]])
def level(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A stack at the least and at the greatest content level: each holds what those between do."""
    made = Stack(tmp_path_factory.mktemp(request.param), content=request.param)
    made.ok("up")
    yield made
    made.down()


def send(stack: Stack, seed: int) -> str:
    """One recorded request with one secret; the secret."""
    chance = random.Random(seed)
    name, form = chance.choice(SECRETS)
    secret = samples.made(form, f"{name} {seed}")
    request = chance.choice(REQUESTS)
    body = planted.plant(request.body, secret, chance)
    assert stack.post(request.signal, json.dumps(body).encode()) in (200, 400), (seed, name)
    return secret


def test_no_planted_secret_is_written_anywhere(level: Stack) -> None:
    sent = []

    @settings(
        max_examples=300,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.integers(min_value=0, max_value=2**32))
    def check(seed: int) -> None:
        sent.append(send(level, seed))

    check()
    time.sleep(2)  # the last of them leave the queue
    assert len(sent) >= 300
    assert planted.in_files(level.home.path, sent) == []
    assert planted.in_rows(level, sent) == []


def test_nor_in_the_queue_of_a_collector_that_was_killed(own_stack: Stack) -> None:
    """Everything waits on disk, in files that are mapped into memory; then nobody cleans up."""
    own_stack.change(content="full")
    own_stack.ok("up")
    layout = Layout(own_stack.home)
    supervise.Supervisor(layout).halt("clickhouse")
    sent = [send(own_stack, seed) for seed in range(300)]
    os.kill(int(layout.supervisor_pid.read_text()), signal.SIGKILL)
    for process in supervise.orphans(layout):
        with contextlib.suppress(psutil.NoSuchProcess):  # its parent took it along
            process.kill()
            process.wait(10)
    waiting = [file for file in layout.queue.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in waiting) > 300_000
    assert planted.in_files(own_stack.home.path, sent) == []


def test_the_search_finds_what_is_there(level: Stack) -> None:
    """Else the tests above could not fail."""
    secret = samples.made("ghp_[A-Za-z0-9]{36}", "search")
    file = level.home.log / "left-behind.log"
    file.write_text(f"before {secret} after")
    assert planted.in_files(level.home.path, [secret]) == [f"{file}: {secret}"]
    file.unlink()
    level.admin(
        "INSERT INTO telemetry.telemetry_events (ts, event, member, extra) VALUES "
        f"(now64(3), 'search', 'm-search0000', map('result', 'ghp_' || '{secret[4:]}'))"
    )
    assert planted.in_rows(level, [secret]) == [f"telemetry.telemetry_events: {secret}"]
    level.admin("ALTER TABLE telemetry.telemetry_events DELETE WHERE event = 'search'")
