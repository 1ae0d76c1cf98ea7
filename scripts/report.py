"""`telemetry report`: one page to read or hand on. `month`: what a month cost and how it went;
`team`: the same across teams, and what changed; `retention`: what is held, for how long, and what
went; `governance`: what became of what was promised; `access`: who asked what, and what they were
refused.

Each section is a question of its own, in queries/report/, queries/team/, queries/retention/,
queries/governance/ and queries/access/, asked as the member; those of teams as a coordinator, those
of access as the administrator.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from infra.warehouse import names
from scripts import queries, query, report_html, report_text, report_words, warehouse
from scripts.errors import Failure, Misuse
from scripts.report_text import (
    Access,
    Across,
    Governance,
    Page,
    Report,
    Retention,
    Row,
    Scope,
    Section,
)
from scripts.warehouse import Connect
from stacks.home import PROJECT

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

FOLDER = PROJECT / "queries" / "report"
TEAM = PROJECT / "queries" / "team"
RETENTION = PROJECT / "queries" / "retention"
GOVERNANCE = PROJECT / "queries" / "governance"
ACCESS = PROJECT / "queries" / "access"
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
_OWN = ("without-chapter", "sessions")
"""Of them, those about single sessions: nobody but their member reads them."""
_OWN_FIGURES = ("sessions",)
"""Figures and columns that coordinators have none of, for the same reason."""
TEAM_TITLES = {
    "teams": "Cost by team",
    "chapters": "Cost by chapter",
    "models": "Cost by model",
    "failures": "Failures that several share",
}
"""Sections of `report team`, beside what it is made of."""
_BY = {"teams": "team", "chapters": "chapter", "models": "model"}
"""What `cost-by` divides by, section by section."""
RETENTION_TITLES = {
    "classes": "What is held",
    "ages": "By age",
    "deletions": "Deleted by command",
    "coverage": "When it was made",
}
GOVERNANCE_TITLES = {"purges": "Purge requests", "kept-out": "Kept out"}
ACCESS_TITLES = {
    "people": "Who asked how much",
    "logins": "Failed logins",
    "denied": "Denied",
    "addresses": "From where",
    "edge": "Refused at the edge",
    "coverage": "What this is made of",
}
_OF_RETENTION = ("classes", "deletions")
"""What governance shows of the retention report."""

_RENDER: dict[Format, Callable[[Page], str]] = {
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


def last_moment(day: str) -> datetime:
    """The end of a day such as 2026-11-23, UTC; empty means now. Raises Misuse."""
    if not day:
        return datetime.now(UTC)
    try:
        return datetime.fromisoformat(f"{day}T23:59:59+00:00")
    except ValueError:
        raise Misuse(f"{day!r} is no day; write it as 2026-11-23.") from None


def ask(
    connect: Connect,
    month: date,
    today: date | None = None,
    *,
    scope: Scope = "own",
    shared: bool = False,
) -> Report:
    """All questions about a month; where it has no events, only what says so.

    `scope`: "team" asks what coordinators read. `shared`: others use the store too, so that the
    days of who asks are not those of everybody.
    """
    today = today or datetime.now(UTC).date()
    bare = Report(month=month, today=today, sections=(), scope=scope)
    days = names.MEMBER_DAILY if shared and scope == "own" else names.DAILY_METRICS
    answer = _answers(connect, FOLDER, _given(bare), days=days)

    def told(name: str) -> Section:
        section = answer(name, TITLES[name])
        if scope == "team":
            section = section.less(_OWN_FIGURES)
        # What is over is what it is: only a month that runs has a forecast.
        return section if bare.running else section.without("forecast")

    found = replace(bare, sections=(told("coverage"),))
    if not found.has_data:
        return found
    left_out = _OWN if scope == "team" else ()
    return replace(bare, sections=tuple(told(name) for name in TITLES if name not in left_out))


def ask_across(connect: Connect, month: date, today: date | None = None) -> Across:
    """A month across teams, from what coordinators read."""
    bare = Across(month=month, today=today or datetime.now(UTC).date(), sections=())
    given = _given(bare)
    coverage = _answers(connect, FOLDER, given)("coverage", TITLES["coverage"])
    found = replace(bare, sections=(coverage,))
    if not found.has_data:
        return found
    sections = []
    for name, title in TEAM_TITLES.items():
        by = _BY.get(name, "")
        answer = _answers(connect, TEAM, {**given, "by": by})
        section = replace(answer(asked_by(name), title), name=name)
        words = (
            report_words.of_costs(section, by.capitalize())
            if by
            else report_words.of_failures(section)
        )
        sections.append(replace(section, words=words))
    return replace(bare, sections=(*sections, coverage))


def asked_by(section: str) -> str:
    """The question in queries/team/ that a section of `report team` asks."""
    return "cost-by" if section in _BY else section


def of_team(connect: Connect) -> Connect:
    """The same, as asked by who may read what coordinators read."""

    def connected() -> Client:
        client = connect()
        client.database = names.TEAM_DATABASE
        return client

    return connected


def _given(report: Report) -> dict[str, str]:
    return {"month": report.month.isoformat(), "through": str(report.through)}


def ask_retention(connect: Connect, until: datetime) -> Retention:
    """The newest retention report that was made by then; there may be none."""
    answer = _answers(connect, RETENTION, {"until": f"{until:%Y-%m-%d %H:%M:%S}"})
    found = Retention(sections=(answer("coverage", RETENTION_TITLES["coverage"]),))
    if not found.has_data:
        return found
    return Retention(sections=tuple(answer(*each) for each in RETENTION_TITLES.items()))


def ask_governance(connect: Connect, until: datetime) -> Governance:
    """As of a moment."""
    given = {"until": f"{until:%Y-%m-%d %H:%M:%S}"}
    own = _answers(connect, GOVERNANCE, given)
    retention = ask_retention(connect, until)
    held = (retention.section(name) for name in _OF_RETENTION)
    return Governance(
        until=until,
        retention=retention,
        sections=(
            *(own(*each) for each in GOVERNANCE_TITLES.items()),
            *(section for section in held if section),
        ),
    )


def ask_access(connect: Connect, until: datetime) -> Access:
    """The thirty days before a moment, asked as the administrator."""
    client = connect()
    warehouse.refresh_audit(client)
    client.close_connections()
    # The second that is not over counts.
    given = {"until": f"{until + timedelta(seconds=1):%Y-%m-%d %H:%M:%S}"}
    answer = _answers(connect, ACCESS, given)
    return Access(until=until, sections=tuple(answer(*each) for each in ACCESS_TITLES.items()))


def _answers(
    connect: Connect, folder: Path, given: dict[str, str], *, days: str = names.DAILY_METRICS
) -> Callable[[str, str], Section]:
    """Asks a question of a folder by name; its title is given to the answer.

    `days`: what it asks instead of `daily_metrics`, with the same columns.
    """
    shipped = queries.shipped(folder)

    def answer(name: str, title: str) -> Section:
        asked = shipped[name]
        known = {each.name for each in asked.parameters}
        columns, rows = query.ask(
            connect,
            re.sub(rf"\b{names.DAILY_METRICS}\b", days, asked.sql),
            asked.arguments({key: value for key, value in given.items() if key in known}),
        )
        return Section(
            name=name.replace("-", "_"),
            title=title,
            question=asked.question,
            remarks=asked.remarks,
            columns=tuple(columns),
            rows=tuple(_row(columns, row) for row in rows),
        )

    return answer


def _row(columns: Sequence[str], values: Sequence[Any]) -> Row:
    return {column: report_text.plain(value) for column, value in zip(columns, values, strict=True)}


def rendered(report: Page, form: Format) -> str:
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
