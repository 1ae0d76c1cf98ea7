"""Records that were set aside instead of being stored: how many, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from scripts.kept import File, Place

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


def aside(found: Sequence[tuple[Place, File]]) -> Aside:
    """Look into files, oldest first. A request that was sent again is in them again, and counted
    once."""
    lines = dict.fromkeys(line for place, file in found for line in place.lines(file))
    marks = [mark for line in lines for mark in _MARK.findall(line.decode(errors="replace"))]
    if not marks:
        return Aside(0, "", 0)
    newest = max(file.changed for _, file in found)
    return Aside(
        records=len(marks),
        last=WHY[marks[-1]],
        hours=(datetime.now(UTC) - newest).total_seconds() / 3600,
    )
