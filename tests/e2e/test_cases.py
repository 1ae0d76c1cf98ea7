"""Claims about what telemetry means, each as a folder under cases/.

- `input.json`: the recorded runs that are sent;
- `query.sql`: asked as the member, `{sessions:Array(String)}` being all session ids in the input;
- `expected.json`: the rows, written by hand from reading the input.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from scripts import warehouse
from tests import recorded
from tests.conftest import Stack
from tests.recorded import Recorded

pytestmark = pytest.mark.stack

CASES = sorted(Path(__file__).parent.glob("cases/*"))


def runs(case: Path) -> list[str]:
    return [str(run) for run in json.loads((case / "input.json").read_text())["runs"]]


def requests(wanted: set[str]) -> list[Recorded]:
    """Logs and metrics of some runs."""
    found = [
        each
        for each in recorded.requests()
        if each.run in wanted and each.signal in ("logs", "metrics")
    ]
    assert {each.run for each in found} == wanted
    return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that was sent the input of all cases, each run once."""
    made = Stack(tmp_path_factory.mktemp("cases"))
    made.ok("up")
    made.send(recorded.shifted(requests({run for case in CASES for run in runs(case)})))
    yield made
    made.down()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_claim_holds_for_what_the_client_sent(stack: Stack, case: Path) -> None:
    sent = requests(set(runs(case)))
    sessions = {each["session.id"] for request in sent for each, _, _ in recorded.events(request)}
    client = warehouse.as_member(stack.settings, stack.home.secrets())
    try:
        result = client.query(
            (case / "query.sql").read_text(), parameters={"sessions": sorted(sessions)}
        )
    finally:
        client.close_connections()  # the server waits for open ones before it ends
    rows = [
        {
            name: float(value) if isinstance(value, Decimal) else value
            for name, value in zip(result.column_names, row, strict=True)
        }
        for row in result.result_rows
    ]
    assert rows == json.loads((case / "expected.json").read_text())


def test_there_are_cases_and_each_is_whole() -> None:
    assert len(CASES) > 9
    for case in CASES:
        assert {each.name for each in case.iterdir()} == {
            "input.json",
            "query.sql",
            "expected.json",
        }
