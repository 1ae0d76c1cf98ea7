"""The guard around the collector, with a stand-in that dies as the collector does."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.home import PROJECT
from tests.conftest import until

RUN = PROJECT / "toolchain" / "collector" / "run.py"

# Reads its queue as bbolt would: a file that begins with BAD is not to be opened.
STAND_IN = """
import pathlib, sys, time
queue = pathlib.Path(sys.argv[1])
for file in sorted(queue.glob("exporter_*")):
    if not file.name.endswith(".backup") and file.read_bytes().startswith(b"BAD"):
        print("panic: go.etcd.io/bbolt something", flush=True)
        sys.exit(2)
(queue / "running").write_text("")
time.sleep(float(sys.argv[2]))
print("panic: go.etcd.io/bbolt mentioned at the end of a long life", flush=True)
sys.exit(3)
"""


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    folder = tmp_path / "queue"
    folder.mkdir()
    (folder / "exporter_a").write_text("well")
    (folder / "exporter_b").write_text("well")
    return folder


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def guard(queue: Path, life: float = 600) -> subprocess.Popen[str]:
    stand_in = queue.parent / "stand_in.py"
    stand_in.write_text(STAND_IN)
    command = [sys.executable, str(stand_in), str(queue), str(life)]
    own = ["--queue", str(queue), "--reserve-mib", "1", "--pid-file", str(queue.parent / "pid")]
    return subprocess.Popen(
        [sys.executable, str(RUN), *own, "--", *command], stdout=subprocess.PIPE, text=True
    )


def names(queue: Path) -> set[str]:
    return {
        file.name.split(".")[0] + ("*" if "backup" in file.name else "") for file in queue.iterdir()
    }


@pytest.mark.parametrize(
    ("bad", "aside"),
    [
        (["exporter_a"], {"exporter_a*"}),
        (["exporter_b"], {"exporter_b*"}),
        (["exporter_a", "exporter_b"], {"exporter_a*", "exporter_b*"}),
    ],
)
def test_the_damaged_file_is_set_aside_and_a_sound_one_is_put_back(
    queue: Path, started: list[subprocess.Popen[str]], bad: list[str], aside: set[str]
) -> None:
    for name in bad:
        (queue / name).write_text("BAD")
    started.append(guard(queue))
    until(lambda: "running" in names(queue))
    sound = {"exporter_a", "exporter_b"} - set(bad)
    assert names(queue) == {"running"} | aside | sound


def test_a_collector_that_had_opened_its_queue_takes_no_file_aside_when_it_dies(
    queue: Path, started: list[subprocess.Popen[str]]
) -> None:
    process = guard(queue, life=11)
    started.append(process)
    assert process.wait(30) == 3, "its own exit code, for the supervisor to see"
    assert names(queue) == {"running", "exporter_a", "exporter_b"}


def test_a_signal_ends_both_and_counts_as_well(
    queue: Path, started: list[subprocess.Popen[str]]
) -> None:
    process = guard(queue)
    started.append(process)
    until(lambda: "running" in names(queue))
    child = int((queue.parent / "pid").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system's help is Linux's")
def test_a_killed_guard_takes_the_collector_along(
    queue: Path, started: list[subprocess.Popen[str]]
) -> None:
    process = guard(queue)
    started.append(process)
    until(lambda: "running" in names(queue))
    child = int((queue.parent / "pid").read_text())
    process.kill()
    process.wait()
    until(
        lambda: (
            not Path(f"/proc/{child}/cmdline").exists()
            or not Path(f"/proc/{child}/cmdline").read_bytes()
        )
    )


def test_it_waits_for_room_and_starts_when_there_is_some(queue: Path) -> None:
    spec = importlib.util.spec_from_file_location("guard", RUN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    room = [10, 10, 100, 100, 10, 10, 100, 100, 100]
    happened: list[str] = []

    class Scripted(module.Guard):  # type: ignore[misc, name-defined]
        child: subprocess.Popen[bytes] | None

        def free(self) -> int:
            if not room:
                self.stopping = True
                return 100
            return room.pop(0)

        def start(self) -> None:
            happened.append("start")
            self.child = subprocess.Popen(["sleep", "60"])
            self.began = time.monotonic()

        def stop(self) -> None:
            if self.child is not None:
                happened.append("stop")
                self.child.kill()
                self.child.wait()
                self.child = None

    Scripted([], queue, 50, queue / "pid").run()
    assert happened == ["start", "stop", "start", "stop"]
