"""The real client, one turn in print mode against the stand-in API."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from scripts.prepare_tests import client_program
from tests.api import Api

KEY = "none"
"""Of the API: the stand-in asks for none."""


@dataclass(frozen=True)
class Turn:
    """How it went."""

    code: int
    answer: str
    session: str
    """Its id."""
    errors: str
    """What it wrote to stderr."""
    seconds: float
    """From its start until it had ended."""
    leaving: float
    """Seconds from the last answer of the API until it had ended."""
    between: tuple[float, ...]
    """Seconds from each answer of the API to the client's next request."""


def command(*words: str) -> list[str]:
    """The program and its arguments."""
    program = client_program()
    assert program, "Claude Code is not there"
    return [str(program), *words]


def environment(api: Api, home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """That of somebody who has the stand-in for an API, and `variables` besides."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ANTHROPIC_BASE_URL": api.address,
        "ANTHROPIC_API_KEY": KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        **variables,
    }


def turn(api: Api, folder: Path, variables: Mapping[str, str]) -> Turn:
    """Run one, in a home of its own below `folder` (made at the first turn)."""
    project = folder / "project"
    project.mkdir(parents=True, exist_ok=True)
    before = len(api.exchanges)
    began = time.monotonic()
    done = subprocess.run(
        command("-p", "Say hello", "--output-format", "json", "--allowedTools", "Bash"),
        cwd=project,
        env=environment(api, folder, variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    ended = time.monotonic()
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    asked = api.exchanges[before:]
    return Turn(
        code=done.returncode,
        answer=said["result"],
        session=said["session_id"],
        errors=done.stderr,
        seconds=ended - began,
        leaving=ended - asked[-1].answered,
        between=tuple(later.asked - earlier.answered for earlier, later in pairwise(asked)),
    )
