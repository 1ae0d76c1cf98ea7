"""What people and programs see: text on a terminal or in a pipe, or JSON.

Results go to standard output; progress and remarks to standard error, so that a pipe carries only
the result.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

# In a pipe nothing is cut to the width of a terminal that is not there.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 4096)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_REMIND_SECONDS = 15


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(data, indent=2, default=str, ensure_ascii=False))


def say(message: str) -> None:
    """A remark on the way."""
    err.print(message, markup=False)


class Step:
    """A long step: a spinner on a terminal, a line every few seconds elsewhere."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._began = time.monotonic()
        self._said = self._began
        self._status = err.status(title) if err.is_terminal else None

    def update(self, detail: str) -> None:
        """Tell how far it is."""
        text = f"{self.title}: {detail}"
        now = time.monotonic()
        if self._status is not None:
            self._status.update(text)
        elif now - self._said >= _REMIND_SECONDS:
            self._said = now
            say(f"  {text} ({now - self._began:.0f} s)")

    def __enter__(self) -> Step:
        if self._status is not None:
            self._status.start()
        else:
            say(f"{self.title} ...")
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()


@contextmanager
def step(title: str, *, done: str = "") -> Iterator[Step]:
    """Show a long step and, when it went well, how long it took."""
    began = time.monotonic()
    with Step(title) as shown:
        yield shown
    say(f"{done or title}: {time.monotonic() - began:.1f} s")
