"""A backup is interrupted: by ClickHouse, by a kill, by a full disk. The one before stays good."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import recorded
from tests.conftest import TELEMETRY, Stack, until
from tests.faults.common import fill
from tests.faults.test_machine import small_disk

pytestmark = pytest.mark.stack

__all__ = ["small_disk"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """With so many rows that a backup takes a second or two."""
    made = Stack(tmp_path_factory.mktemp("dies"))
    made.ok("up")
    made.send(recorded.shifted(list(recorded.requests("logs", "2.1.330"))))
    for _ in range(3):
        made.admin(
            "INSERT INTO telemetry.telemetry_events SELECT * EXCEPT n REPLACE "
            "(ts - n AS ts, concat(session_id, toString(rand64())) AS session_id) FROM "
            "(SELECT *, arrayJoin(range(500)) AS n FROM telemetry.telemetry_events "
            "WHERE length(session_id) = 36) LIMIT 100000 "
            "SETTINGS max_threads = 1, max_block_size = 8192"
        )
    yield made
    made.down()


def start(stack: Stack, to: Path) -> subprocess.Popen[str]:
    """A backup on its way: its first object is there, and no manifest yet."""
    before = len(list(to.glob("objects/*")))
    process = subprocess.Popen(
        [TELEMETRY, "backup", "--to", to],
        env=stack.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(list(to.glob("objects/*"))) > before)
    assert not list(to.glob("manifests/*"))
    return process


def test_clickhouse_dies_and_the_command_says_so(stack: Stack, tmp_path: Path) -> None:
    process = start(stack, tmp_path)
    os.kill(stack.pid("clickhouse"), signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in said
    assert "ClickHouse" in said
    assert not list(tmp_path.glob("manifests/*"))
    until(lambda: stack.run("status").returncode == 0, 60)
    stack.ok("backup", "--to", str(tmp_path))
    assert stack.run("restore", "--from", str(tmp_path), "--dry-run").returncode == 0


def test_a_killed_backup_is_none_and_leaves_no_rows_lying_about(
    stack: Stack, tmp_path: Path
) -> None:
    process = start(stack, tmp_path)
    end = time.monotonic() + 30
    while not list(stack.home.run.glob("backup-*/*rows*")):  # it is there for a moment
        assert time.monotonic() < end
    process.kill()
    process.communicate(timeout=60)
    assert not list(tmp_path.glob("manifests/*"))
    done = stack.run("restore", "--from", str(tmp_path), "--yes")
    assert done.returncode == 1
    assert "There is no backup" in done.stderr
    assert not list(stack.home.run.glob("backup-*/*"))
    report = json.loads(stack.ok("backup", "--to", str(tmp_path), "--json"))
    assert report["written_rows"] == report["rows"]


def test_two_at_once_do_not_meet(stack: Stack, tmp_path: Path) -> None:
    with (stack.home.run / "backup.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = stack.run("backup", "--to", str(tmp_path))
    assert second.returncode == 1
    assert "Another backup or restore is at work" in second.stderr
    assert stack.run("backup", "--to", str(tmp_path)).returncode == 0


def test_a_full_disk_is_said_and_the_backup_before_stays(
    stack: Stack,
    small_disk: Path,
) -> None:
    to = small_disk / "place"
    stack.ok("backup", "--to", str(to))
    stack.admin(
        "ALTER TABLE telemetry.telemetry_events DELETE WHERE rand() % 2 SETTINGS mutations_sync = 2"
    )
    filler = fill(small_disk, 64 * 1024)
    done = stack.run("backup", "--to", str(to))
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "name another place" in done.stderr
    assert len(list(to.glob("manifests/*"))) == 1
    assert stack.run("restore", "--from", str(to), "--dry-run").returncode == 0
    filler.unlink()
    stack.ok("backup", "--to", str(to))
    assert len(list(to.glob("manifests/*"))) == 2
