"""What the documents beside the contracts name is there."""

from __future__ import annotations

import re

from infra.warehouse import names
from scripts import contracts
from stacks.home import PROJECT

MADE = re.findall(
    r"^CREATE (?:TABLE|VIEW|MATERIALIZED VIEW) telemetry\.(\w+)",
    contracts.SCHEMA.read_text(encoding="utf-8"),
    re.MULTILINE,
)


def rows(path: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    text = (PROJECT / path).read_text(encoding="utf-8").partition(f"\n{heading}\n")[2]
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert table is not None
    return [line.strip("| ").split(" | ") for line in table[0].splitlines()[2:]]


def code(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_the_data_model_tells_of_every_view_that_people_read_and_of_no_other() -> None:
    told = [
        name
        for row in rows("docs/DATA-MODEL.md", "## Which view answers what")
        for name in code(row[1])
    ]
    assert set(told) <= set(MADE)
    internal = {*names.AGGREGATES[1:3], names.MIGRATIONS, names.TOUCHED_DAYS}
    read = {*names.OWN_EVENTS, *names.SHARED, *names.AGGREGATES} - internal
    assert set(told) == {name for name in read if not name.endswith("_now")}


def test_the_data_model_names_every_case_and_no_other() -> None:
    text = (PROJECT / "docs/DATA-MODEL.md").read_text(encoding="utf-8")
    cases = {path.name for path in (PROJECT / "tests/e2e/cases").iterdir()}
    assert set(re.findall(r"`((?:[a-z]+-){3,}[a-z]+)`", text)) == cases


def test_names_from_elsewhere_lead_to_columns_that_exist() -> None:
    schema = contracts.SCHEMA.read_text(encoding="utf-8")
    columns = set(re.findall(r"^    `(\w+)` ", schema, re.MULTILINE))
    table = rows("contracts/README.md", "## Names from elsewhere")
    assert {name for row in table for name in code(row[1])} <= columns
    assert {name for row in table for name in code(row[0])} == {
        "token_count_estimate",
        "api_name",
        "retry_attempt",
        "success_status",
        "feedback_text",
        "event_type",
        "user_id",
        "validation_outcome",
        "prompt_text",
        "file_path",
        "timestamp",
        "latency_ms",
    }
