"""What a machine can have wrong: ports, disks, folders, other programs. Each is named or heals."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from scripts.errors import Failure
from tests import recorded
from tests.conftest import TELEMETRY, Stack, until
from tests.faults.common import disk, fill

pytestmark = pytest.mark.stack


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1,200 MiB of its own, in memory."""
    with disk(tmp_path / "disk", 1200) as folder:
        yield folder


def test_a_taken_port_is_named_with_who_holds_it(own_stack: Stack) -> None:
    port = own_stack.settings.ports.otlp_http
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        done = own_stack.run("up")
    assert done.returncode == 1
    assert f"port {port} (ports.otlpHttp)" in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr
    assert "settings.yaml" in done.stderr


def test_a_folder_that_cannot_be_written_is_named(own_stack: Stack) -> None:
    blocked = own_stack.user / "file"
    blocked.write_text("")
    done = own_stack.run("up", env={"TELEMETRY_HOME": str(blocked / "state")})
    assert done.returncode == 1
    assert str(blocked) in done.stderr
    assert "TELEMETRY_HOME" in done.stderr


def test_a_read_only_disk_is_named(small_disk: Path, own_stack: Stack) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = own_stack.run("up", env={"TELEMETRY_HOME": str(small_disk / "state")})
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr


def test_a_state_folder_inside_the_clone_is_refused(own_stack: Stack) -> None:
    inside = TELEMETRY.parent.parent.parent / "state"
    done = own_stack.run("up", env={"TELEMETRY_HOME": str(inside)})
    assert done.returncode == 1
    assert "lies in the clone" in done.stderr
    assert not inside.exists()


def test_too_little_room_is_said_before_anything_starts(small_disk: Path) -> None:
    stack = Stack(small_disk)
    fill(small_disk, 100 * 1024**2)
    done = stack.run("up")
    assert done.returncode == 1
    assert "at least 1 GiB is needed" in done.stderr
    assert not stack.pid("collector")


def test_a_full_disk_closes_the_port_and_heals_when_it_is_freed(small_disk: Path) -> None:
    stack = Stack(small_disk)
    stack.ok("up")
    try:
        requests = recorded.shifted(list(recorded.requests("logs"))[:40])

        def answer(number: int) -> int:
            try:
                return stack.post("logs", json.dumps(requests[number].body).encode())
            except urllib3.exceptions.HTTPError:
                return 0

        assert {answer(number) for number in range(20)} == {200}
        filler = fill(small_disk, 128 * 1024**2)
        until(lambda: answer(0) == 0, 30)
        assert "free some" in (stack.home.log / "collector.log").read_text()
        filler.unlink()
        for number in range(20, 40):
            until(lambda: answer(number) == 200, 60)  # noqa: B023
        total = sum(1 for each in requests for _ in recorded.events(each))

        def stored() -> int:
            try:
                return int(stack.member("SELECT count() FROM telemetry_events")[0][0])
            except Failure:  # ClickHouse may be restarting
                return -1

        until(lambda: stored() >= total, 60)
        assert stored() == total
    finally:
        stack.down()


def test_a_second_up_at_the_same_time_waits_and_finds_all_done(own_stack: Stack) -> None:
    both = [
        subprocess.Popen(
            [TELEMETRY, "up", "--json"],
            env=own_stack.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ends = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    changes = sorted(len(json.loads(out)["changes"]) for out, _ in ends)
    assert changes[0] == 0
    assert changes[1] > 0
    assert any("waiting" in said for _, said in ends)


def test_data_of_a_newer_clickhouse_is_not_touched(own_stack: Stack) -> None:
    own_stack.home.prepare()
    (own_stack.home.data / "written-by").write_text("99.1.2.3")
    done = own_stack.run("up")
    assert done.returncode == 1
    assert "99.1.2.3" in done.stderr
    assert not own_stack.pid("clickhouse")
