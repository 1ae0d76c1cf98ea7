"""Records that were set aside instead of being stored: how many, and why."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

WHY = {
    "name": "without a proper name",
    "time": "of an impossible time",
    "type": "of a kind there is no table for",
    "value": "that is no number",
}
"""What the guards write (infra/collector/sanitize.py), in words."""

# A quotation mark inside of a value has a backslash before it.
_MARK = re.compile(rf'"key":"telemetry\.aside","value":{{"stringValue":"({"|".join(WHY)})"}}')
_RECENT_HOURS = 24


@dataclass(frozen=True)
class Aside:
    """What the files hold."""

    records: int
    last: str
    """Why the last one was; empty where there is none."""
    hours: float
    """Since then."""

    @property
    def said(self) -> str:
        """Of the last day; empty where nothing was set aside in it."""
        if not self.records or self.hours >= _RECENT_HOURS:
            return ""
        return (
            f"{self.records} record(s) were set aside, the last one {self.hours:.0f} hours ago, "
            f"{self.last}: not in the database"
        )


def aside(folder: Path) -> Aside:
    """Look into the files. A request that was sent again is in them again, and counted once."""
    files = sorted(folder.glob("*.jsonl"), key=lambda file: file.stat().st_mtime)
    lines = dict.fromkeys(
        line for file in files for line in file.read_text(errors="replace").splitlines()
    )
    marks = [mark for line in lines for mark in _MARK.findall(line)]
    if not marks:
        return Aside(0, "", 0)
    return Aside(
        records=len(marks),
        last=WHY[marks[-1]],
        hours=(time.time() - files[-1].stat().st_mtime) / 3600,
    )
