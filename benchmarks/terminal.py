"""The real client in a terminal, as people use it: a turn, and then `/exit`."""

from __future__ import annotations

import json
import os
import pty
import select
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests import claude
from tests.api import Api

_PROMPT = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"
"""What the client shows once it takes input."""
_SETTLED_SECONDS = 0.5
"""Between what it shows and what is typed: before, it is not taken."""
_PATIENCE_SECONDS = 60


class _Terminal:
    """A process in a pseudo-terminal, and all that it has shown."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        command = claude.command("--allowedTools", "Bash")
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execve(command[0], command, {**environment, "TERM": "xterm-256color"})
        self._shown = b""

    def _read(self) -> bool:
        """What has come since; False once it has ended."""
        if select.select([self._terminal], [], [], 0.01)[0]:
            try:
                self._shown += os.read(self._terminal, 65536)
            except OSError:
                return False
        return True

    def until(self, condition: Callable[[], bool]) -> None:
        """Go on showing until something is so."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            assert self._read(), f"it ended: {self._shown[-2000:]!r}"
            assert time.monotonic() < end, f"nothing came: {self._shown[-2000:]!r}"

    def settle(self) -> None:
        """Go on showing for a moment."""
        end = time.monotonic() + _SETTLED_SECONDS
        self.until(lambda: time.monotonic() > end)

    def shows(self, text: str) -> bool:
        """Whether it has ever."""
        return text.encode() in self._shown

    def type(self, text: str) -> float:
        """A line; when its end was typed."""
        self.settle()
        os.write(self._terminal, text.encode())
        self.settle()
        os.write(self._terminal, b"\r")
        return time.monotonic()

    def ended(self) -> int:
        """Wait for its end; its exit code."""
        while self._read():
            pass
        _, status = os.waitpid(self._pid, 0)
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(status)


def leave(api: Api, folder: Path, variables: Mapping[str, str]) -> float:
    """One turn in a session, in a home below `folder`; seconds that `/exit` takes after it."""
    project = folder / "project"
    project.mkdir(parents=True, exist_ok=True)
    answered = {
        "hasCompletedOnboarding": True,
        "customApiKeyResponses": {"approved": [claude.KEY]},
        "projects": {str(project): {"hasTrustDialogAccepted": True}},
    }
    (folder / ".claude.json").write_text(json.dumps(answered))
    terminal = _Terminal(project, claude.environment(api, folder, variables))
    terminal.until(lambda: terminal.shows(_PROMPT))
    before = len(api.exchanges)
    terminal.type("Say hello")
    terminal.until(lambda: len(api.exchanges) > before + api.tools)
    left = terminal.type("/exit")
    assert terminal.ended() == 0
    return time.monotonic() - left
