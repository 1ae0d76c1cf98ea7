"""`telemetry report month`: what a month cost and how it went, as one page to read or hand on.

Each section is a question of its own in queries/report/, asked as the member.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, get_args

from infra.secrets import Secrets
from infra.settings import Settings
from scripts import queries, query, report_html, report_text
from scripts.errors import Failure, Misuse
from scripts.report_text import Report, Section
from stacks.home import PROJECT

FOLDER = PROJECT / "queries" / "report"
Format = Literal["md", "html", "csv", "json"]

TITLES = {
    "totals": "The month",
    "budget": "Budget",
    "days": "Cost by day",
    "members": "Cost by member",
    "chapters": "Cost by chapter",
    "models": "Cost by model",
    "without-chapter": "Cost without a chapter",
    "sessions": "The dearest sessions",
    "error-rates": "Failures",
    "failing-tools": "Failing tools",
    "top-errors": "Errors",
    "cache": "Cache efficiency",
    "tokens": "Token efficiency",
    "approvals": "Approvals",
    "coverage": "What this is made of",
}
"""Questions by name, in the order in which they are read."""

_RENDER: dict[Format, Callable[[Report], str]] = {
    "md": report_text.markdown,
    "html": report_html.page,
    "csv": report_text.comma_separated,
    "json": report_text.as_json,
}


def first_day(month: str) -> date:
    """Of a month such as 2026-11; empty means this one. Raises Misuse."""
    if not month:
        return datetime.now(UTC).date().replace(day=1)
    if not re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", month, re.ASCII):
        raise Misuse(f"{month!r} is no month; write it as 2026-11.")
    return date.fromisoformat(f"{month}-01")


def format_of(form: Format | None, output: Path | None) -> Format:
    """The one named, else the one the file's name tells, else Markdown."""
    if form:
        return form
    ending = output.suffix.removeprefix(".").lower() if output else ""
    return next((each for each in get_args(Format) if each == ending), "md")


def ask(settings: Settings, secrets: Secrets, month: date, today: date | None = None) -> Report:
    """All questions about a month; where it has no events, only what says so."""
    bare = Report(month=month, today=today or datetime.now(UTC).date(), sections=())
    shipped = queries.shipped(FOLDER)
    given = {"month": month.isoformat(), "through": str(bare.through)}

    def answer(name: str) -> Section:
        asked = shipped[name]
        known = {each.name for each in asked.parameters}
        columns, rows = query.ask(
            settings,
            secrets,
            asked.sql,
            asked.arguments({key: value for key, value in given.items() if key in known}),
        )
        # What is over is what it is: only a month that runs has a forecast.
        told = [name for name in columns if bare.running or not name.startswith("forecast")]
        return Section(
            name=name.replace("-", "_"),
            title=TITLES[name],
            question=asked.question,
            remarks=asked.remarks,
            columns=tuple(told),
            rows=tuple(
                {
                    column: report_text.plain(value)
                    for column, value in zip(columns, row, strict=True)
                    if column in told
                }
                for row in rows
            ),
        )

    found = replace(bare, sections=(answer("coverage"),))
    return replace(bare, sections=tuple(map(answer, TITLES))) if found.has_data else found


def rendered(report: Report, form: Format) -> str:
    """The report as text of that format."""
    return _RENDER[form](report)


def write(text: str, path: Path) -> None:
    """Into a file that only its owner reads: it names members and sessions. Raises Failure."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(file, "w", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise Failure(f"The report could not be written to {path}: {error.strerror}.") from None
