"""What a team adds: taken over by the collector, or refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from infra.collector import rules
from infra.collector.rules import team
from infra.settings import SettingsError, validated
from tests.conftest import Stack
from tests.sanitize import through
from tests.sanitize.test_content import stored

CASE = {
    "name": "case-number",
    "what": "numbers of our cases",
    "regex": "CASE-[0-9]{6}",
    "examples": ["CASE-123456"],
    "stays": ["CASE-12"],
}


def problem(**changes: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        validated([{"sanitize": {"patterns": [{**CASE, **changes}]}}])
    return str(caught.value)


@pytest.mark.parametrize(
    ("regex", "reason"),
    [
        ("(?=x)CASE", "no RE2 regular expression"),
        ("CASE-(", "no RE2 regular expression"),
        (r"(CASE)-\1", "no RE2 regular expression"),
        ("(?:CASE-[0-9]{6})?", "matches nothing at all"),
        ("[A-Za-z-]+", "too broad"),
        ("[0-9a-f]{8,}", "too broad"),
        ("redacted", "built-in rule leaves behind"),
        ("CASE-[A-Z]+", "does not match its own example"),
        ("CASE-[0-9]+", "must stay"),
    ],
)
def test_a_bad_pattern_is_refused_with_the_reason(regex: str, reason: str) -> None:
    said = problem(regex=regex)
    assert reason in said
    assert "telemetry:sanitize.patterns" in said


def test_a_built_in_pattern_cannot_be_replaced() -> None:
    assert "cannot be replaced" in problem(name="github-token")


def test_a_name_stands_once() -> None:
    with pytest.raises(SettingsError, match="is there twice"):
        validated([{"sanitize": {"patterns": [CASE, CASE]}}])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("body", "is never stored"),
        ("prompt", "is text"),
        ("model", "is kept already"),
        ("telemetry.member", "belongs to the collector"),
        ("redaction.redacted.keys", "belongs to the collector"),
        ("user.email", "is kept already"),
        ("Odd Name", "should match pattern"),
    ],
)
def test_an_attribute_that_must_not_be_added_is_refused(name: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        validated([{"sanitize": {"attributes": [{"name": name, "why": "because"}]}}])
    assert reason.lower() in str(caught.value).lower()


def test_what_every_session_sends_holds_what_was_recorded() -> None:
    assert {"api_request", "claude_code.api_request", "Bash"} <= set(team.ORDINARY)


@pytest.mark.stack
def test_a_teams_rules_hold_in_the_collector(own_stack: Stack) -> None:
    own_stack.change(
        content="prompts",
        sanitize={
            "patterns": [CASE, {**CASE, "name": "name-list", "regex": "(?i)(jane|john) roe",
                                "examples": ["Jane Roe"], "stays": []}],
            "attributes": [{"name": "book.part", "why": "which part was worked on"}],
        },
    )  # fmt: skip
    said = own_stack.ok("up")
    count = len(rules.patterns()) + 2
    assert f"{count} made-up secrets" in said, "the canary plants theirs, too"
    [kept] = stored(own_stack, {"prompt": "See CASE-123456, CASE-12 and ask JANE ROE."})
    assert kept["prompt"] == "See [redacted:case-number], CASE-12 and ask [redacted:name-list]."
    assert through.kept(own_stack, {"book.part": "two", "book.other": "x"}) == {"book.part": "two"}
    explained = own_stack.ok("sanitize", "--explain")
    assert "case-number" in explained
    assert "book.part" in explained
