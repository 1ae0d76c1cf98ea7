"""`telemetry report month`: its figures, its four formats, and what people may have written."""

from __future__ import annotations

import csv
import io
import json
import re
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from scripts import queries, report, report_html, report_text
from scripts.errors import Misuse
from scripts.report_text import Report, Section
from tests import recorded
from tests.conftest import Stack, until
from tests.queries import oracle
from tests.queries.oracle import Event
from tests.queries.test_shipped import rows
from tests.queries.test_summaries import keep, moved
from tests.recorded import Recorded

TODAY = datetime.now(UTC).date()
HOSTILE = "<script>alert(1)</script>"
FORMULA = "=1+1|x"


def middle(back: int) -> date:
    """The 15th of a month, so many months ago."""
    count = TODAY.year * 12 + TODAY.month - 1 - back
    return date(count // 12, count % 12 + 1, 15)


MONTH, BEFORE, WITHOUT_COST = middle(3), middle(4), middle(6)
LOGS = recorded.shifted(list(recorded.requests("logs")))


def then(day: date, found: list[Recorded]) -> list[Recorded]:
    """The same requests, so many days earlier that the last is of that day."""
    return [moved(each, days=(TODAY - day).days) for each in found]


def changed(request: Recorded, change: Callable[[list[dict[str, Any]]], None]) -> Recorded:
    """The same request, its lists of attributes changed."""
    body = json.loads(json.dumps(request.body))
    for outer in body["resourceLogs"]:
        change(outer["resource"]["attributes"])
        for scope in outer["scopeLogs"]:
            for record in scope["logRecords"]:
                change(record["attributes"])
    return Recorded(request.run, request.name, request.signal, body)


def filed(request: Recorded, chapter: str) -> Recorded:
    """Under another chapter."""

    def change(attributes: list[dict[str, Any]]) -> None:
        for entry in attributes:
            if entry["key"] == "chapter":
                entry["value"] = {"stringValue": chapter}

    return changed(request, change)


def without_cost(request: Recorded) -> Recorded:
    """As a client would send it that reports none."""

    def change(attributes: list[dict[str, Any]]) -> None:
        attributes[:] = [each for each in attributes if not each["key"].startswith("cost_usd")]

    return changed(request, change)


def send(stack: Stack, requests: list[Recorded]) -> list[Event]:
    """Send them and wait until they are stored; what they say."""
    for request in requests:
        assert stack.post("logs", json.dumps(request.body).encode()) == 200
    said = oracle.events(requests)
    until(lambda: stack.member("SELECT count() FROM telemetry_events") == [(len(said),)], 60)
    return said


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(
        tmp_path_factory.mktemp("report"),
        retention={"eventsDays": 400},
        budget={"monthlyUsd": 40},
    )
    made.ok("up")
    yield made
    made.down()


@pytest.fixture(scope="module")
def sent(full: Stack) -> list[Event]:
    """A month in which people named chapters oddly or not at all, the one before, one without
    cost, and now."""
    chapters = ("ch03", HOSTILE, FORMULA, "")
    odd = [filed(each, chapters[at % len(chapters)]) for at, each in enumerate(LOGS)]
    return send(
        full,
        [
            *then(MONTH, odd),
            *then(BEFORE, LOGS[::2]),
            *then(WITHOUT_COST, [without_cost(each) for each in LOGS[:40]]),
            *LOGS,
        ],
    )


def of(found: list[Event], day: date) -> list[Event]:
    return [event for event in found if event.day.startswith(f"{day:%Y-%m}")]


def asked(stack: Stack, day: date) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        stack.ok("report", "month", "--month", f"{day:%Y-%m}", "--format", "json")
    )
    return found


def dearest(found: list[Event]) -> list[dict[str, Any]]:
    """Ten sessions and what they cost."""
    costs = {
        session: oracle.cost(group)
        for session, group in oracle.grouped(found, lambda e: e.session).items()
    }
    ten = sorted(
        ((cost, session) for session, cost in costs.items() if cost),
        key=lambda each: (-each[0], each[1]),
    )[:10]
    return [{"session_id": session, "cost_usd": cost} for cost, session in ten]


def rate(found: list[Event], failed: Callable[[list[Event]], int], *names: str) -> float | None:
    tried = len(oracle.of(found, *names))
    return round(100 * failed(found) / tried, 2) if tried else None


def api_errors(found: list[Event]) -> int:
    return len(oracle.of(found, "api_error"))


def tool_failures(found: list[Event]) -> int:
    return sum(event.failed for event in oracle.of(found, "tool_result"))


def totals(found: list[Event]) -> dict[str, Any]:
    """What the first section says of a month."""
    requests = oracle.of(found, "api_request")
    tokens = {name: sum(e.number(name) for e in requests) for name in oracle.TOKENS}
    read = sum(tokens.values()) - tokens["output_tokens"]
    return {
        "cost_usd": oracle.cost(found),
        "sessions": len({event.session for event in requests} - {""}),
        "prompts": len(oracle.of(found, "user_prompt")),
        "requests": len(requests),
        "tool_calls": len(oracle.of(found, "tool_result")),
        "output_tokens": tokens["output_tokens"],
        "tokens_read": read,
        "cache_hit_rate": round(100 * tokens["cache_read_tokens"] / read, 1),
        "api_error_rate": rate(found, api_errors, "api_request", "api_error"),
        "tool_failure_rate": rate(found, tool_failures, "tool_result"),
    }


def expected(
    month: list[Event], before: list[Event], all_there_is: list[Event]
) -> dict[str, list[dict[str, Any]]]:
    """What each section must say, as far as the recordings tell."""
    now, then_ = totals(month), totals(before)
    shared = ("failing-tools", "cache")
    return {
        "totals": [
            {"figure": name, "this_month": now[name], "month_before": then_[name]} for name in now
        ],
        "budget": [{"spent_usd": oracle.cost(month), "budget_usd": 40}],
        "days": [
            {key: row[key] for key in ("day", "cost_usd", "share", "requests")}
            for row in oracle.by(month, "day", lambda e: e.day)
        ],
        "members": [
            {key: now[key] for key in ("cost_usd", "sessions", "requests")} | {"share": 100}
        ],
        "chapters": [
            {key: row[key] for key in ("chapter", "cost_usd", "share", "requests")}
            for row in oracle.by(month, "chapter", lambda e: e.says["chapter"] or "(none)")
        ],
        "models": [
            {k: row[k] for k in ("model", "cost_usd", "share", "requests", "requests_without_cost")}
            for row in oracle.ANSWERS["cost-by-model"](month)
        ],
        "without_chapter": dearest([event for event in month if not event.says["chapter"]]),
        "sessions": dearest(month),
        "error_rates": [
            {
                "kind": "API requests",
                "tried": now["requests"] + api_errors(month),
                "failed": api_errors(month),
                "rate": now["api_error_rate"],
                "rate_before": then_["api_error_rate"],
            },
            {
                "kind": "tool calls",
                "tried": now["tool_calls"],
                "failed": tool_failures(month),
                "rate": now["tool_failure_rate"],
                "rate_before": then_["tool_failure_rate"],
            },
        ],
        "approvals": oracle.approvals(month, all_there_is),
        "tokens": oracle.ANSWERS["token-efficiency"](month),
        "coverage": [
            {"month": f"{MONTH:%Y-%m}", "days_with_data": len({event.day for event in month})}
        ],
        **{name.replace("-", "_"): oracle.ANSWERS[name](month) for name in shared},
    }


@pytest.mark.stack
def test_every_figure_is_what_the_recorded_requests_say(full: Stack, sent: list[Event]) -> None:
    found = asked(full, MONTH)["sections"]
    must = expected(of(sent, MONTH), of(sent, BEFORE), sent)
    assert set(found) == {*must, "top_errors"}
    for name, lines in must.items():
        assert lines, f"{name}: compared with nothing"
        assert rows(found[name], list(lines[0])) == rows(lines, list(lines[0])), name
    errors = oracle.of(of(sent, MONTH), "api_error", "api_refusal", "internal_error")
    times = sum(row["times"] for row in found["top_errors"])
    assert len(found["top_errors"]) < 10, "none is cut off, so the sum is the whole"
    assert times == len(errors) + tool_failures(of(sent, MONTH))


@pytest.mark.stack
def test_the_change_is_against_the_month_before(full: Stack, sent: list[Event]) -> None:
    now, then_ = totals(of(sent, MONTH)), totals(of(sent, BEFORE))
    for row in asked(full, MONTH)["sections"]["totals"]:
        was = float(then_[row["figure"]])
        change = 100 * (float(now[row["figure"]]) - was) / was
        assert row["change"] == pytest.approx(change, abs=0.051), row["figure"]
        assert row["change"] or row["figure"].endswith("_rate"), "half as much is a change"


@pytest.mark.stack
@pytest.mark.usefixtures("sent")
def test_a_part_of_a_month_is_not_held_against_a_whole_one(full: Stack) -> None:
    """What was before came on the 14th and 15th; on the 10th nothing of it counts."""
    for day, known in ((10, False), (20, True)):
        made = report.ask(full.as_member, MONTH.replace(day=1), today=MONTH.replace(day=day))
        figures = made.section("totals")
        assert figures is not None
        found = {row["figure"]: row["month_before"] for row in figures.rows}
        assert {value is not None for value in found.values()} == {known}
        assert (made.row("error_rates")["rate_before"] is not None) is known


@pytest.mark.stack
def test_the_running_month_has_a_forecast_and_one_that_is_over_has_none(
    full: Stack, sent: list[Event]
) -> None:
    def forecast() -> float:
        now = datetime.now(UTC).replace(microsecond=0)  # as ClickHouse counts
        first = now.replace(day=1, hour=0, minute=0, second=0)
        whole = (report_text.month_after(first.date()) - first.date()).days
        return float(spent) * whole / max((now - first).total_seconds() / 86400, 0.01)

    spent = oracle.cost(of(sent, TODAY)) or 0
    most = forecast()
    found = asked(full, TODAY)
    [budget] = found["sections"]["budget"]
    assert found["running"]
    assert forecast() - 0.02 <= budget["forecast_usd"] <= most + 0.02
    assert budget["forecast_percent"] == pytest.approx(budget["forecast_usd"] / 0.4, abs=0.06)
    past = asked(full, MONTH)
    assert not past["running"]
    assert [key for key in past["sections"]["budget"][0] if key.startswith("forecast")] == []


@pytest.mark.stack
def test_a_cost_that_nobody_reported_is_unknown_and_not_nothing(
    full: Stack, sent: list[Event]
) -> None:
    found = asked(full, WITHOUT_COST)["sections"]
    requests = len(oracle.of(of(sent, WITHOUT_COST), "api_request"))
    assert requests
    for name in ("days", "members", "chapters", "models"):
        assert {row["cost_usd"] for row in found[name]} == {None}, name
    assert found["totals"][0]["this_month"] is None
    assert found["budget"][0]["spent_usd"] is None
    assert sum(row["requests_without_cost"] for row in found["models"]) == requests
    assert found["sessions"] == []
    page = Page(full.ok("report", "month", "--month", f"{WITHOUT_COST:%Y-%m}", "--format", "html"))
    assert page.tables["members"][1][1] == ("unknown", None)
    assert f"{requests} requests reported no cost" in page.text


@pytest.mark.stack
def test_days_that_outlived_their_events_are_told_and_still_counted(own_stack: Stack) -> None:
    own_stack.ok("up")
    day = TODAY - timedelta(days=60)
    said = send(own_stack, then(day, LOGS[:30]))
    keep(own_stack)
    month = next(iter({event.day[:7] for event in said if oracle.cost([event])}))
    about = date.fromisoformat(f"{month}-01")
    before = asked(own_stack, about)["sections"]
    own_stack.change(retention={"eventsDays": 5})
    own_stack.ok("up")
    own_stack.admin("OPTIMIZE TABLE telemetry.telemetry_events FINAL")
    own_stack.admin("SYSTEM REFRESH VIEW telemetry.sessions_daily_refresh")
    own_stack.admin("SYSTEM WAIT VIEW telemetry.sessions_daily_refresh")
    found = asked(own_stack, about)
    after = found["sections"]
    assert after["days"] == before["days"]
    assert after["chapters"] == before["chapters"]
    assert after["members"] == []
    figures = {row["figure"]: row["this_month"] for row in after["totals"]}
    assert figures["sessions"] is None
    assert figures["cost_usd"] == before["totals"][0]["this_month"] is not None
    assert any("outlived their events" in note for note in found["notes"])
    assert "Unknown: events of this month are gone." in own_stack.ok(
        "report", "month", "--month", month
    )


# --- the formats


class Page(HTMLParser):
    """What a browser would make of it: tables by section, tags, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[tuple[str, float | None]]]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._section = ""
        self._cell: list[str] | None = None
        self._value: float | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.tags.append((tag, said))
        if tag == "section":
            self._section = str(said["aria-labelledby"])
        elif tag == "tr":
            self.tables.setdefault(self._section, []).append([])
        elif tag in ("td", "th"):
            self._cell, self._value = [], None
        elif tag == "data":
            self._value = float(str(said["value"]))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[self._section][-1].append(("".join(self._cell), self._value))
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell is not None:
            self._cell.append(data)


def tables(markdown: str) -> dict[str, list[list[str]]]:
    """Tables by title, without their bars, as a reader of Markdown sees them."""
    found: dict[str, list[list[str]]] = {}
    for part in markdown.split("\n## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        del lines[1:2]
        cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
        found[part.splitlines()[0]] = [
            [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in line] for line in cells
        ]
    return found


@pytest.fixture(scope="module")
def formats(full: Stack, sent: list[Event]) -> dict[str, str]:
    """The same report in each format."""
    assert sent
    words = ("report", "month", "--month", f"{MONTH:%Y-%m}", "--format")
    return {each: full.ok(*words, each) for each in ("md", "html", "csv", "json")}


@pytest.mark.stack
def test_all_formats_say_the_same(formats: dict[str, str]) -> None:
    data = json.loads(formats["json"])["sections"]
    page, text = Page(formats["html"]), tables(formats["md"])
    separated = list(csv.DictReader(io.StringIO(formats["csv"])))
    assert set(page.tables) == set(data)
    for name, found in data.items():
        columns = list(found[0])
        lines = page.tables[name][1:]
        assert len(lines) == len(found), name
        for line, row in zip(lines, found, strict=True):
            numbers = [value if type(value) in (int, float) else None for value in row.values()]
            assert [value for _, value in line] == numbers, name
        shown = text[report.TITLES[name.replace("_", "-")]]
        assert [line[: len(columns)] for line in shown[1:]] == [
            [told for told, _ in line] for line in lines
        ], name
        figures = [
            (str(row[columns[0]]).lstrip("'"), column, row[column])
            for row in found
            for column in columns[1:]
        ]
        written = [each for each in separated if each["section"] == name]
        assert [(each["name"].lstrip("'"), each["figure"]) for each in written] == [
            (first, column) for first, column, _ in figures
        ]
        for each, (_, _, value) in zip(written, figures, strict=True):
            if type(value) in (int, float):
                assert float(each["value"]) == value
            elif value is None:
                assert each["value"] == ""


@pytest.mark.stack
def test_nothing_in_a_page_runs_or_is_fetched_whatever_people_wrote(
    formats: dict[str, str],
) -> None:
    page = Page(formats["html"])
    assert HOSTILE in page.text, "it is shown as it was written"
    assert "script" not in {tag for tag, _ in page.tags}
    assert {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "a", "base"} == set()
    named = {name for _, said in page.tags for name in said}
    assert {name for name in named if name.startswith("on")} == set()
    assert named & {"src", "href", "srcset", "xlink:href"} == set()
    assert not re.search(r"url\(|@import|https?:", formats["html"])
    policies = [said["content"] for tag, said in page.tags if said.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert f"| {HOSTILE}" not in formats["md"], "Markdown passes tags on"


@pytest.mark.stack
def test_a_chapter_is_no_formula_for_a_spreadsheet_and_no_column_of_a_table(
    formats: dict[str, str],
) -> None:
    first = {line[1] for line in csv.reader(io.StringIO(formats["csv"])) if line[0] == "chapters"}
    assert f"'{FORMULA}" in first
    assert FORMULA not in first
    chapters = tables(formats["md"])["Cost by chapter"]
    assert FORMULA in [line[0] for line in chapters]
    assert len({len(line) for line in chapters}) == 1


@pytest.mark.stack
def test_every_drawing_is_told_or_stands_beside_its_number(formats: dict[str, str]) -> None:
    drawings = re.findall(r"<svg([^>]*)>(.*?)</svg>", formats["html"], re.DOTALL)
    told = [(said, inner) for said, inner in drawings if 'role="img"' in said]
    hidden = [said for said, _ in drawings if 'aria-hidden="true"' in said]
    assert len(told) + len(hidden) == len(drawings)
    assert len(told) == 2, "days and budget"
    data = json.loads(formats["json"])["sections"]
    for said, inner in told:
        labels = re.search(r'aria-labelledby="(\S+) (\S+)"', said)
        assert labels is not None
        assert re.search(rf'<title id="{labels[1]}">[^<]+</title>', inner)
        assert re.search(rf'<desc id="{labels[2]}">[^<]+</desc>', inner)
    for row in data["days"]:
        assert f"{row['day']}: {row['cost_usd']:.2f} USD" in told[-1][1] + told[0][1]
    assert hidden
    for tag in re.findall(r"<td[^>]*>((?:(?!</td>).)*)<svg", formats["html"]):
        assert "<data value=" in tag


@pytest.mark.stack
def test_a_month_without_data_says_so_in_every_format(full: Stack, sent: list[Event]) -> None:
    assert sent
    words = ("report", "month", "--month", "2001-02", "--format")
    for form in ("md", "html"):
        assert "No events are stored for 2001-02." in full.ok(*words, form)
    assert "coverage,2001-02,days_with_data,0\n" in full.ok(*words, "csv")
    found = json.loads(full.ok(*words, "json"))
    assert (found["has_data"], found["notes"]) == (False, ["No events are stored for 2001-02."])
    assert set(found["sections"]) == {"coverage"}


@pytest.mark.stack
@pytest.mark.usefixtures("sent")
def test_a_file_is_for_its_owner_and_of_the_kind_its_name_says(full: Stack, tmp_path: Path) -> None:
    path = tmp_path / "november.html"
    words = ("report", "month", "--month", f"{MONTH:%Y-%m}", "--output")
    assert full.ok(*words, str(path)) == f"Wrote {path}.\n"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    nowhere = full.run(*words, str(tmp_path / "no" / "where.md"))
    assert (nowhere.returncode, "could not be written" in nowhere.stderr) == (1, True)


@pytest.mark.stack
@pytest.mark.parametrize("month", ["2026-13", "2026-00", "2026-1", "2026-11-01", "x", "1026-11"])
def test_a_bad_month_is_refused(full: Stack, month: str) -> None:
    done = full.run("report", "month", "--month", month)
    assert done.returncode == 2
    assert f"'{month}' is no month" in done.stderr
    assert done.stdout == ""


# --- without a stack


def test_digits_of_other_scripts_are_no_month() -> None:
    with pytest.raises(Misuse):
        report.first_day("20\N{ARABIC-INDIC DIGIT TWO}6-11")


def test_each_question_of_the_report_has_a_title_and_takes_a_month() -> None:
    found = queries.shipped(report.FOLDER)
    assert set(found) == set(report.TITLES)
    for name, each in found.items():
        declared = {(given.name, given.type) for given in each.parameters}
        assert declared == set(re.findall(r"\{(\w+):(\w+)\}", each.sql)), name
        assert ("month", "Date") in declared, name


@pytest.mark.parametrize(
    ("month", "today", "last"),
    [
        ("2026-11-01", "2026-11-24", "2026-10-24"),
        ("2026-11-01", "2026-12-01", "2026-10-31"),
        ("2026-03-01", "2026-03-31", "2026-02-28"),
        ("2026-01-01", "2026-01-05", "2025-12-05"),
    ],
)
def test_a_running_month_is_compared_with_the_same_days(month: str, today: str, last: str) -> None:
    made = Report(month=date.fromisoformat(month), today=date.fromisoformat(today), sections=())
    assert made.compared[1] == date.fromisoformat(last)
    assert made.compared[0].day == 1


@pytest.mark.parametrize(
    ("measure", "value", "text"),
    [
        ("cost_usd", 1234.5, "1,234.50"),
        ("cost_usd", 0, "0.00"),
        ("cost_usd", 0.00042, "0.0004"),
        ("cost_usd", None, "unknown"),
        ("requests", 1234, "1,234"),
        ("requests", 0.04, "0.04"),
        ("change", 7.9, "+7.9 %"),
        ("change", -0.04, "-0.04 %"),
        ("kinds", {"ShellError": 2}, "ShellError: 2"),
        ("started", "2026-11-24T07:03:00Z", "2026-11-24 07:03"),
    ],
)
def test_a_figure_that_is_not_0_is_never_shown_as_0(measure: str, value: Any, text: str) -> None:
    assert report_text.shown(measure, value) == text


def test_what_steers_a_terminal_or_turns_a_line_around_is_made_visible() -> None:
    for sign in ("\x1b[31m", "\x00", "\x9b", "\n", "\u202e", "\u2066"):
        assert report_text.plain(f"a{sign}b").startswith("a\ufffd")
    assert report_text.plain("Kapitel 3: Ü, é, 中") == "Kapitel 3: Ü, é, 中"


def test_back_quotes_and_links_of_people_are_no_markdown() -> None:
    section = Section(
        name="chapters",
        title="T",
        question="Q?",
        remarks="",
        columns=("chapter", "cost_usd", "share"),
        rows=({"chapter": "[x](javascript:1) `y` <b>", "cost_usd": None, "share": None},),
    )
    coverage = Section(
        name="coverage",
        title="C",
        question="Q?",
        remarks="",
        columns=("month", "days_with_data"),
        rows=({"month": "2026-11", "days_with_data": 1},),
    )
    made = Report(month=date(2026, 11, 1), today=date(2026, 12, 1), sections=(section, coverage))
    text = report_text.markdown(made)
    assert r"\[x](javascript:1) \`y\` \<b>" in text
    assert "<b>" not in report_html.page(made)
    assert text.count("unknown") == 2


def test_the_format_is_named_or_told_by_the_file_or_markdown() -> None:
    assert report.format_of("csv", Path("x.html")) == "csv"
    assert report.format_of(None, Path("x.HTML")) == "html"
    assert report.format_of(None, Path("x.txt")) == "md"
    assert report.format_of(None, None) == "md"
