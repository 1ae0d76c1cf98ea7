"""A report as one HTML file: it opens offline, on a phone, in the dark, and on paper.

Drawings are SVG without text, so that they take any width; what they say stands beside them, and in
their title and description. Every value is escaped; the page's policy lets nothing run or load.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from scripts.report_text import (
    WITH_BARS,
    Page,
    Report,
    Row,
    Section,
    bars,
    caption,
    cell,
    explained,
    is_number,
    month_after,
    shown,
)

_STYLE = Path(__file__).with_suffix(".css")
_LONG = ("error", "kinds")
_SHORT = 20
_TILES = ("cost_usd", "sessions", "requests", "api_error_rate", "tool_failure_rate")


def page(report: Page) -> str:
    """The whole file."""
    body = "\n".join(_section(report, each) for each in report.sections if report.has_data)
    notes = "".join(f"<li>{_prose(note)}</li>" for note in report.notes)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(report.title)}</title>
<style>
{_STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<header>
<h1>{escape(report.title.removesuffix(report.name))}<span class="short">{report.name}</span></h1>
<p>{escape(report.heading)}</p>
{f'<ul class="notes">{notes}</ul>' if notes else ""}
</header>
<main>
{body}
</main>
</body>
</html>
"""


def _prose(text: str) -> str:
    """Our own words: what stands in back quotes is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _section(report: Page, section: Section) -> str:
    drawing = _drawn(report, section) if isinstance(report, Report) and section.rows else ""
    words = "".join(f"<li>{_prose(each)}</li>" for each in section.words)
    parts = [
        f'<section aria-labelledby="{section.name}">',
        f'<h2 id="{section.name}">{escape(section.title)}</h2>',
        f"<p>{_prose(section.question)}</p>",
        f"<ul>{words}</ul>" if words else "",
        drawing,
        _table(section) if section.rows else f"<p>{escape(report.nothing)}</p>",
        f'<p class="remarks">{_prose(explained(section))}</p>' if section.remarks else "",
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _drawn(report: Report, section: Section) -> str:
    for now, before in _COMPARED:
        if {now, before} <= set(section.columns):
            return _pairs(section, now, before)
    return _DRAWN[section.name](report, section) if section.name in _DRAWN else ""


def _value(row: Row, column: str) -> str:
    """What is shown, and the exact figure for whatever reads the page."""
    value = row[column]
    text = escape(cell(row, column))
    if value is None:
        return f'<span class="unknown">{text}</span>'
    if isinstance(value, (int, float)):
        return f'<data value="{value}">{text}</data>'
    return f"<bdi>{text}</bdi>"


def _table(section: Section) -> str:
    numeric = {column: is_number(section, column) for column in section.columns}
    drawn = bars(section) if section.name in WITH_BARS and section.name != "days" else []

    def classes(column: str, text: str = "") -> str:
        names = [
            "number" if numeric[column] else "",
            "long" if column in _LONG else "",
            # Breaks nowhere; not what is long, such as an id.
            "short" if 0 < len(text) <= _SHORT else "",
            "session-id" if column == "session_id" else "",
        ]
        told = " ".join(name for name in names if name)
        return f' class="{told}"' if told else ""

    lines = []
    for at, row in enumerate(section.rows):
        cells = []
        for column in section.columns:
            scope = ' scope="row"' if column == section.columns[0] else ""
            tag = "th" if scope else "td"
            bar = _bar(drawn[at]) if drawn and column == "share" else ""
            told = classes(column, cell(row, column))
            cells.append(f"<{tag}{scope}{told}>{_value(row, column)}{bar}</{tag}>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(
        f'<th scope="col"{classes(column)}>{escape(caption(column))}</th>'
        for column in section.columns
    )
    return (
        # Reached by keyboard, since it scrolls where the page is narrow.
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{section.name}">\n'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(lines) + "\n"
        "</tbody>\n</table>\n</div>"
    )


def _bar(part: float | None) -> str:
    """Beside its number, which says the same."""
    if not part:
        return ""
    return (
        '<svg class="bar" aria-hidden="true" viewBox="0 0 100 1" preserveAspectRatio="none">'
        f'<rect width="{100 * part:.2f}" height="1"/></svg>'
    )


def _tiles(_: Report, section: Section) -> str:
    """The figures that are looked for first."""
    tiles = []
    for row in section.rows:
        if row["figure"] in _TILES:
            change = row["change"]
            told = "" if change is None else f"{shown('change', change)} against the month before"
            tiles.append(
                f"<div><dt>{escape(caption(row['figure']))}</dt>"
                f"<dd>{_value(row, 'this_month')}<small>{escape(told)}</small></dd></div>"
            )
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _figure(name: str, title: str, told: str, size: str, drawing: str, beside: str) -> str:
    return (
        f'<figure class="{name}">\n<svg role="img" aria-labelledby="{name}-title {name}-desc" '
        f'viewBox="0 0 {size}" preserveAspectRatio="none">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(told)}</desc>'
        f"{drawing}</svg>\n{beside}\n</figure>"
    )


def _days(report: Report, section: Section) -> str:
    """A bar a day; days without events stay empty."""
    count = (month_after(report.month) - report.month).days
    cost = {int(row["day"][-2:]): row["cost_usd"] for row in section.rows}
    known = {day: each for day, each in cost.items() if each is not None}
    most = max(known.values(), default=0)
    rects = "".join(
        f'<rect x="{10 * day - 9}" y="{100 - 100 * each / most:.2f}" width="8" '
        f'height="{100 * each / most:.2f}"/>'
        for day, each in known.items()
        if each
    )
    lines = "".join(f'<path d="M0 {y}H{10 * count}"/>' for y in (0, 50, 100))
    told = "; ".join(
        f"{report.name}-{day:02d}: {shown('cost_usd', each)}"
        + ("" if each is None else " USD")
        for day, each in cost.items()
    )  # fmt: skip
    labels = "".join(
        f'<span style="left:{100 * (day - 0.5) / count:.2f}%">{day}</span>'
        for day in (1, 8, 15, 22, count)
    )
    return _figure(
        "days-chart",
        f"Cost by day in {report.name}",
        f"Bars. {told}.",
        f"{10 * count} 100",
        f'<g class="grid">{lines}</g>{rects}',
        f'<div class="axis" aria-hidden="true">{labels}</div>\n'
        f"<figcaption>USD a day; the upper line is {shown('cost_usd', most)}.</figcaption>",
    )


def _budget(report: Report, section: Section) -> str:
    """What is spent and forecast, against the budget."""
    row = section.rows[0]
    spent, forecast, budget = (
        row.get(column) for column in ("spent_usd", "forecast_usd", "budget_usd")
    )
    whole = max(spent or 0, forecast or 0, budget or 0)
    if not whole or budget is None:
        return ""

    def width(value: float | None) -> str:
        return f"{100 * (value or 0) / whole:.2f}"

    told = f"Spent {shown('spent_usd', spent)} USD of {shown('budget_usd', budget)}"
    if report.running:
        told += f"; {shown('forecast_usd', forecast)} are to be expected by the end of the month"
    over = " over" if max(spent or 0, forecast or 0) > budget else ""
    return _figure(
        "budget-chart",
        f"Budget of {report.name}",
        f"{told}.",
        "100 10",
        '<rect class="track" width="100" height="10"/>'
        f'<rect class="forecast{over}" y="1" width="{width(forecast)}" height="8"/>'
        f'<rect class="spent" y="1" width="{width(spent)}" height="8"/>'
        f'<path class="limit" d="M{width(budget)} 0V10"/>',
        f"<figcaption>{escape(told)}.</figcaption>",
    )


def _pairs(section: Section, now: str, before: str) -> str:
    """Two bars a row, this month's and that of the month before, beside what they are of."""
    rows = section.rows[:_DRAWN_ROWS]
    most = max((row[each] or 0 for row in rows for each in (now, before)), default=0)
    if not most:
        return ""
    first = section.columns[0]
    lines = "".join(
        f"<dt>{escape(cell(row, first))}</dt>"
        '<dd><svg viewBox="0 0 100 10" preserveAspectRatio="none">'
        f'<rect width="{100 * (row[now] or 0) / most:.2f}" height="5"/>'
        f'<rect class="forecast" y="6" width="{100 * (row[before] or 0) / most:.2f}" height="4"/>'
        "</svg></dd>"
        for row in rows
    )
    return (
        # The table below says the same, and more.
        f'<figure class="pairs"><dl aria-hidden="true">{lines}</dl>'
        f"<figcaption>{escape(caption(now))}: this month above, the month before below it; the "
        f"longest bar is {shown(now, most)}.</figcaption></figure>"
    )


_COMPARED = (("cost_usd", "before_usd"), ("times", "times_before"))
"""Columns that are drawn beside each other."""
_DRAWN_ROWS = 10
_DRAWN = {"totals": _tiles, "days": _days, "budget": _budget}
