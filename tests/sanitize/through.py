"""Texts through the running collector and back from ClickHouse."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from tests import made
from tests.conftest import Stack, until

_AT_ONCE = 500
ATTRIBUTE = "result"
"""Kept at every content level and stored as it leaves the rules, so any text can be sent in it."""


def log(session: str, number: int, attributes: dict[str, Any]) -> dict[str, Any]:
    """A log record with texts in its attributes."""
    names = {"event.name": "retention_sweep", "event.sequence": number}
    return made.log(session, attributes={**names, **attributes})


def passed(stack: Stack, texts: Sequence[str]) -> list[str]:
    """What is stored of each text."""
    session = str(uuid.uuid4())
    for first in range(0, len(texts), _AT_ONCE):
        records = [
            log(session, first + number, {ATTRIBUTE: text})
            for number, text in enumerate(texts[first : first + _AT_ONCE])
        ]
        assert stack.post("logs", made.request(*records)) == 200
    query = (
        f"SELECT seq, extra['{ATTRIBUTE}'] FROM telemetry_events WHERE session_id = {{s:String}} "
        "ORDER BY seq"
    )

    def stored() -> list[str] | None:
        rows = stack.member(query, s=session)
        return [text for _, text in rows] if len(rows) == len(texts) else None

    found: list[str] = until(stored, seconds=120)
    return found


def kept(stack: Stack, attributes: dict[str, Any]) -> dict[str, str]:
    """What stands in `extra` of a record with these attributes."""
    session = str(uuid.uuid4())
    assert stack.post("logs", made.request(log(session, 0, attributes))) == 200
    query = "SELECT extra FROM telemetry_events WHERE session_id = {s:String}"
    [(found,)] = until(lambda: stack.member(query, s=session))
    return dict(found)
