"""Copies of what is stored, outside the database: which there are, where, and until when.

A deletion must reach them too. Whoever makes or removes one says so here; the register is a file of
the state folder, so it knows of what this machine made, and of nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from stacks.home import Home, write_private

Kind = Literal["backup", "archive"]


@dataclass(frozen=True)
class Copy:
    """One of them. Times are UTC."""

    kind: Kind
    place: str
    """A folder or an address, such as s3://bucket/folder."""
    made_at: datetime
    lapses_at: datetime | None = None
    """When it is to be removed; None: it stays until somebody removes it."""


def known(home: Home) -> list[Copy]:
    """All, oldest first."""
    if not home.copies.exists():
        return []
    found = json.loads(home.copies.read_text(encoding="utf-8"))
    return [
        Copy(
            kind=each["kind"],
            place=each["place"],
            made_at=datetime.fromisoformat(each["made_at"]),
            lapses_at=datetime.fromisoformat(each["lapses_at"]) if each["lapses_at"] else None,
        )
        for each in found
    ]


def lines(home: Home) -> list[str]:
    """Each place with a kind of copy, and until when the last one there stays."""
    last: dict[tuple[str, str], str] = {}
    for each in known(home):
        until = f"until {each.lapses_at:%Y-%m-%d}" if each.lapses_at else "until it is deleted"
        last[each.kind, each.place] = until
    return [f"A {kind} stays in {place}, {until}." for (kind, place), until in last.items()]


def note(home: Home, copy: Copy) -> None:
    """There is one more."""
    _write(home, {*known(home), copy})


def replace(home: Home, kind: Kind, place: str, there: Iterable[Copy]) -> None:
    """What there is of a kind at a place now, instead of what was noted before."""
    others = (each for each in known(home) if (each.kind, each.place) != (kind, place))
    _write(home, {*others, *there})


def _write(home: Home, copies: set[Copy]) -> None:
    found = [
        {
            "kind": each.kind,
            "place": each.place,
            "made_at": each.made_at.isoformat(),
            "lapses_at": each.lapses_at.isoformat() if each.lapses_at else None,
        }
        for each in sorted(copies, key=lambda each: (each.made_at, each.kind, each.place))
    ]
    write_private(home.copies, json.dumps(found, indent=2) + "\n")
