"""A report as data, and as text: Markdown for people, CSV for spreadsheets, JSON for programs.

Nothing here asks or writes. What the formats show is the same because they all show these rows.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

Row = dict[str, Any]
Scope = Literal["own", "team"]
"""Whose rows a report is about: of who asks, or of everybody whom a coordinator answers for."""
UNKNOWN = "unknown"
WITH_BARS = ("days", "members", "chapters", "models", "teams")
"""Sections whose cost is also drawn."""
_BAR = 20
_REORDERING = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question of the report, answered."""

    name: str
    title: str
    question: str
    remarks: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    words: tuple[str, ...] = ()
    """What the rows say, as sentences (scripts/report_words.py)."""

    def without(self, beginning: str) -> Section:
        """The same without columns whose name begins so."""
        return self.less([each for each in self.columns if each.startswith(beginning)])

    def less(self, figures: Sequence[str]) -> Section:
        """The same without columns, and without rows about figures, of these names."""
        columns = tuple(each for each in self.columns if each not in figures)
        rows = tuple(
            {column: row[column] for column in columns}
            for row in self.rows
            if row.get("figure") not in figures
        )
        return replace(self, columns=columns, rows=rows)


class Page(ABC):
    """What every report has, whatever it is about."""

    sections: tuple[Section, ...]
    """Where it has no data: only what says so (coverage)."""

    @property
    def nothing(self) -> str:
        """What stands where a section has no rows."""
        return "Nothing to show."

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is about, such as 2026-11."""

    @property
    @abstractmethod
    def has_data(self) -> bool: ...

    @property
    @abstractmethod
    def heading(self) -> str:
        """Which days it is about."""

    @property
    @abstractmethod
    def notes(self) -> list[str]:
        """What must be known to read the figures."""

    @property
    @abstractmethod
    def facts(self) -> Row:
        """What JSON says before the sections."""

    @property
    def title(self) -> str:
        return f"Telemetry report, {self.name}"

    def section(self, name: str) -> Section | None:
        return next((each for each in self.sections if each.name == name), None)

    def row(self, name: str) -> Row:
        """The first row of a section; empty where there is none."""
        found = self.section(name)
        return found.rows[0] if found and found.rows else {}


@dataclass(frozen=True, kw_only=True)
class Report(Page):
    """A month."""

    month: date
    """Its first day."""
    today: date
    sections: tuple[Section, ...]
    scope: Scope = "own"

    @property
    def has_data(self) -> bool:
        return bool(self.row("coverage").get("days_with_data"))

    @property
    def name(self) -> str:
        return f"{self.month:%Y-%m}"

    @property
    def facts(self) -> Row:
        first, last = self.compared
        return {
            "month": f"{self.month:%Y-%m}",
            "scope": self.scope,
            "running": self.running,
            "has_data": self.has_data,
            "compared_with": {"from": first.isoformat(), "to": last.isoformat()},
        }

    @property
    def last(self) -> date:
        """The last day that it covers."""
        return min(self.today, month_after(self.month) - timedelta(days=1))

    @property
    def running(self) -> bool:
        return self.month <= self.today < month_after(self.month)

    @property
    def through(self) -> int:
        """Up to which day the month before counts: a part is not held against a whole."""
        return self.today.day if self.running else 31

    @property
    def compared(self) -> tuple[date, date]:
        """First and last day of what it is compared with."""
        end = self.month - timedelta(days=1)
        first = end.replace(day=1)
        return first, min(end, first + timedelta(days=self.through - 1))

    @property
    def past_retention(self) -> int:
        """How many of its days have outlived their events."""
        return int(self.row("coverage").get("days_past_retention") or 0)

    @property
    def nothing(self) -> str:
        return "Unknown: events of this month are gone." if self.past_retention else super().nothing

    @property
    def heading(self) -> str:
        first, last = self.compared
        still = " (the month still runs)" if self.running else ""
        return (
            f"{self.month} to {max(self.month, self.last)}{still}, "
            f"compared with {first} to {last}. Days are UTC."
        )

    @property
    def notes(self) -> list[str]:
        if not self.has_data:
            return [f"No events are stored for {self.name}."]
        notes = []
        if self.past_retention:
            notes.append(
                f"{self.past_retention} of its {self.row('coverage')['days_with_data']} days have "
                "outlived their events: they are in the month's figures, the budget, the days, "
                "the chapters and the error rates, and in nothing else."
            )
        if without := self.row("coverage").get("requests_without_cost"):
            notes.append(f"{without:,} requests reported no cost; they are in no sum.")
        chapters = self.section("chapters")
        for row in chapters.rows if chapters else ():
            if row["chapter"] == "(none)" and row["cost_usd"]:
                notes.append(
                    f"{shown('cost_usd', row['cost_usd'])} USD ({shown('share', row['share'])}) "
                    "belong to no chapter; `telemetry label` mends it"
                    + (", see below." if self.scope == "own" else ", for each member their own.")
                )
        if self.row("budget").get("budget_usd") is None:
            notes.append("No budget is set (setting `budget.monthlyUsd`).")
        return notes


@dataclass(frozen=True, kw_only=True)
class Across(Report):
    """A month across teams: cost and efficiency, shared failures, and what changed."""

    scope: Scope = "team"

    @property
    def name(self) -> str:
        return f"teams {super().name}"

    @property
    def facts(self) -> Row:
        return {**super().facts, "words": {each.name: each.words for each in self.sections}}

    @property
    def notes(self) -> list[str]:
        if not self.has_data:
            return [f"No events are stored for {self.month:%Y-%m}."]
        without = self.row("coverage").get("requests_without_cost")
        return [f"{without:,} requests reported no cost; they are in no sum."] if without else []


@dataclass(frozen=True, kw_only=True)
class Retention(Page):
    """What was held on the day of a weekly report."""

    sections: tuple[Section, ...]

    @property
    def has_data(self) -> bool:
        return self.row("coverage").get("made_at") is not None

    @property
    def name(self) -> str:
        return f"retention {str(self.row('coverage').get('made_at') or '')[:10]}".strip()

    @property
    def facts(self) -> Row:
        return {"has_data": self.has_data, **self.row("coverage")}

    @property
    def heading(self) -> str:
        made, before = (self.row("coverage").get(each) for each in ("made_at", "report_before"))
        compared = f", compared with {shown('', before)}" if before else ""
        return f"As of {shown('', made)}{compared}. Days and times are UTC." if made else ""

    @property
    def notes(self) -> list[str]:
        if not self.has_data:
            return ["No report was made by then: the database makes one a week."]
        classes = self.section("classes")
        late = [row for row in classes.rows if row["overdue_rows"]] if classes else []
        return [
            f"{row['overdue_rows']:,} rows of {row['class']} are older than "
            f"{row['keep_days']} days: `telemetry cleanup` deletes them."
            for row in late
        ]


@dataclass(frozen=True, kw_only=True)
class Governance(Page):
    """What became of what was promised, as of a moment."""

    until: datetime
    retention: Retention
    sections: tuple[Section, ...]

    @property
    def has_data(self) -> bool:
        return True

    @property
    def name(self) -> str:
        return f"governance {self.until:%Y-%m-%d}"

    @property
    def open_purges(self) -> list[Row]:
        found = self.section("purges")
        return [row for row in found.rows if row["days_left"] is not None] if found else []

    @property
    def facts(self) -> Row:
        return {"as_of": plain(self.until), "open_purges": len(self.open_purges)}

    @property
    def heading(self) -> str:
        return f"As of {shown('', plain(self.until))}. Days and times are UTC."

    @property
    def notes(self) -> list[str]:
        notes = []
        if self.open_purges:
            most, least = (row["days"] for row in (self.open_purges[0], self.open_purges[-1]))
            waits = f"for {most} days" if most == least else f"for {least} to {most} days"
            notes.append(
                f"{len(self.open_purges)} open purge request(s), {waits}: `telemetry purge`."
            )
        late = sum(row["days_left"] < 0 for row in self.open_purges)
        if late:
            notes.append(f"{late} of them are older than the policy promises.")
        return notes + self.retention.notes


@dataclass(frozen=True, kw_only=True)
class Access(Page):
    """Who asked what, and what they were refused, in the thirty days before a moment."""

    until: datetime
    sections: tuple[Section, ...]

    @property
    def has_data(self) -> bool:
        coverage = self.row("coverage")
        return bool(coverage.get("rows") or coverage.get("edge_rows"))

    @property
    def name(self) -> str:
        return f"access {self.until:%Y-%m-%d}"

    def _times(self, section: str) -> int:
        found = self.section(section)
        return sum(row["times"] for row in found.rows) if found else 0

    @property
    def facts(self) -> Row:
        return {
            "as_of": plain(self.until),
            "since": self.row("coverage").get("since"),
            "failed_logins": self._times("logins"),
            "denied": self._times("denied"),
            "refused_at_the_edge": self._times("edge"),
        }

    @property
    def heading(self) -> str:
        since = shown("", self.row("coverage").get("since"))
        return f"From {since} to {shown('', plain(self.until))}. Days and times are UTC."

    @property
    def notes(self) -> list[str]:
        if not self.has_data:
            return ["Nobody asked anything."]
        told = {
            "failed login(s)": self._times("logins"),
            "denied attempt(s)": self._times("denied"),
            "refused at the edge": self._times("edge"),
        }
        return [f"{times} {what}." for what, times in told.items() if times]


def month_after(month: date) -> date:
    """First day of the next month."""
    return (month + timedelta(days=31)).replace(day=1)


def plain(value: Any) -> Any:
    """A value of the database as JSON knows it; what would steer a terminal is made visible."""
    if isinstance(value, (Decimal, float)):
        return int(value) if value == int(value) else float(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, str):
        return "".join(
            "\N{REPLACEMENT CHARACTER}"
            if unicodedata.category(each) == "Cc" or each in _REORDERING
            else each
            for each in value
        )
    return value


def kind(row: Row, column: str) -> str:
    """What a column's value measures; a row that names a figure says it itself."""
    if "figure" in row and column in ("this_month", "month_before"):
        return str(row["figure"])
    return column


def is_number(section: Section, column: str) -> bool:
    """Whether a column is one of figures."""
    values = [row[column] for row in section.rows if row[column] is not None]
    return all(isinstance(each, (int, float)) for each in values)


def caption(column: str) -> str:
    """A column's name as people read it."""
    text = column.replace("_usd", ", USD").replace("_", " ")
    return re.sub(r"\b(usd|api|id)\b", lambda word: word[0].upper(), text)


def explained(section: Section) -> str:
    """Its remarks, with the names of figures as they are shown."""
    names = {*section.columns, *(row["figure"] for row in section.rows if "figure" in row)}
    return re.sub(
        r"\w+", lambda word: caption(word[0]) if word[0] in names else word[0], section.remarks
    )


def cell(row: Row, column: str) -> str:
    """A value of a row as people read it."""
    if column == "figure":
        return caption(row[column])
    return shown(kind(row, column), row[column])


def shown(measure: str, value: Any) -> str:
    """A value as people read it; nothing that is not 0 is shown as 0."""
    if value is None:
        return UNKNOWN
    if isinstance(value, dict):
        return ", ".join(f"{key}: {shown('', each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, str):
        if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}Z", value):
            return value[:16].replace("T", " ")
        return value or "\N{EN DASH}"
    if measure.endswith("_usd"):
        return _digits(value, 2)
    if measure.startswith("usd_"):
        return _digits(value, 4)
    if measure == "change":
        return f"{'+' if value > 0 else ''}{_digits(value, 1)} %"
    if re.search(r"(^|_)(rate|share|percent)(_|$)", measure):
        return f"{_digits(value, 1)} %"
    return f"{value:,}" if isinstance(value, int) else _digits(value, 1)


def _digits(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    return text if value == 0 or text.strip("-0.,") else f"{value:.1g}"


def bars(section: Section) -> list[float | None]:
    """Each row's cost as a part of the largest; unknown stays unknown."""
    costs = [row["cost_usd"] for row in section.rows]
    most = max((each for each in costs if each), default=0)
    return [None if each is None else each / most if most else 0.0 for each in costs]


# --- Markdown


def markdown(report: Page) -> str:
    """For a terminal, and for whatever renders Markdown."""
    parts = [f"# {report.title}", report.heading]
    parts.append("\n".join(f"- {_literal(note, code=True)}" for note in report.notes))
    for section in report.sections if report.has_data else ():
        parts += [f"## {section.title}", section.question]
        parts.append("\n".join(f"- {_literal(each, code=True)}" for each in section.words))
        parts += [_literal(explained(section), code=True)] if section.remarks else []
        parts.append(_table(section) if section.rows else report.nothing)
    return "\n\n".join(part for part in parts if part) + "\n"


def _literal(text: str, *, code: bool = False) -> str:
    """Text of which nothing is taken for markup (`code`: but what stands in back quotes)."""
    return re.sub(r"([\\|<\[*])" if code else r"([\\|<\[*`])", r"\\\1", text)


def _table(section: Section) -> str:
    head = [_literal(caption(column)) for column in section.columns]
    lines = [[_literal(cell(row, column)) for column in section.columns] for row in section.rows]
    right = [is_number(section, column) for column in section.columns]
    if section.name in WITH_BARS:
        head.append("")
        right.append(False)
        for line, part in zip(lines, bars(section), strict=True):
            line.append("" if part is None else "█" * round(_BAR * part) or "▏" * (part > 0))
    widths = [max(3, *(len(line[at]) for line in [head, *lines])) for at in range(len(head))]
    rule = [
        "-" * (width - 1) + ":" if r else "-" * width
        for width, r in zip(widths, right, strict=True)
    ]

    def laid_out(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if r else cell.ljust(width)
            for cell, width, r in zip(cells, widths, right, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    return "\n".join(laid_out(line) for line in (head, rule, *lines))


# --- CSV and JSON


def comma_separated(report: Page) -> str:
    """One row a figure: section, name (the first column of the section's row), figure, value."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(("section", "name", "figure", "value"))
    for section in report.sections:
        first, *rest = section.columns
        for row in section.rows:
            for column in rest:
                value = row[column]
                if isinstance(value, (dict, list)):
                    value = shown(column, value)
                writer.writerow((section.name, _harmless(row[first]), column, _harmless(value)))
    return written.getvalue()


def _harmless(value: Any) -> Any:
    """Text that a spreadsheet would compute is made text again; unknown is empty."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return value


def as_json(report: Page) -> str:
    """Rows by section; unknown is null."""
    data = {
        **report.facts,
        "notes": report.notes,
        "sections": {section.name: section.rows for section in report.sections},
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
