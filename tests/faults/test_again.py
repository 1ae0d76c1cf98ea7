"""A program that cannot start is tried for ever, and never waited for without a bound."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.embedded.processes import AGAIN
from stacks.home import PROJECT
from tests.conftest import until

BIN = PROJECT / ".venv" / "bin"
NAMES = ("first", "second")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A supervisord of one's own, with two programs that end at once until they are mended."""
    configuration = tmp_path / "supervisord.conf"
    socket = tmp_path / "socket"
    sections = [
        f"[supervisord]\nlogfile={tmp_path / 'log'}\npidfile={tmp_path / 'pid'}\n",
        f"[unix_http_server]\nfile={socket}\n",
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
        f"[supervisorctl]\nserverurl=unix://{socket}\n",
        f"[eventlistener:again]\nevents=PROCESS_STATE_FATAL\n"
        f"command=/bin/sh {AGAIN} {BIN / 'supervisorctl'} {configuration}\n",
        *(
            f"[program:{name}]\nstartretries=1\n"
            f"command=/bin/sh -c 'echo >> {tmp_path / name}; "
            f"test -e {tmp_path / 'mended'} && exec sleep 60'\n"
            for name in NAMES
        ),
    ]
    configuration.write_text("\n".join(sections))
    subprocess.run([BIN / "supervisord", "-c", configuration], check=True)
    yield tmp_path
    subprocess.run([BIN / "supervisorctl", "-c", configuration, "shutdown"], check=True)


def state(folder: Path) -> dict[str, str]:
    command: list[Path | str] = [
        BIN / "supervisorctl",
        "-c",
        folder / "supervisord.conf",
        "status",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    return {words[0]: words[1] for line in done.stdout.splitlines() if (words := line.split())}


def starts(folder: Path, name: str) -> int:
    file = folder / name
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_a_program_that_was_given_up_is_started_again_until_it_runs(folder: Path) -> None:
    until(lambda: all(starts(folder, name) > 5 for name in NAMES), 60)
    (folder / "mended").touch()
    until(lambda: {state(folder).get(name) for name in NAMES} == {"RUNNING"}, 60)
    assert state(folder)["again"] == "RUNNING"
