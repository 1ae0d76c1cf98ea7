"""Files of programs that are at work: some vanish while one looks."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


def below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file in a folder and the folders in it that is still there, with its size and times."""
    for place, _, names in os.walk(folder):  # passes over a folder that is gone, unlike Path.rglob
        for name in sorted(names):
            file = Path(place, name)
            with contextlib.suppress(OSError):
                found = file.lstat()
                if stat.S_ISREG(found.st_mode):
                    yield file, found
