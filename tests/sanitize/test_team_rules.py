"""What a team adds: taken over by the collector, or refused with the reason."""

from __future__ import annotations

import re
from typing import Any

import pytest

from infra.collector import rules
from infra.collector.rules import team
from infra.settings import SettingsError, validated
from tests import recorded
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
        ("jwt\\]", "built-in rule leaves behind"),
        ("m-[a-z0-9]{10}", "too broad"),
        ("[a-z]{14,}", "built-in rule leaves behind"),
        ("tool_result", "too broad"),
        ("claude-sonnet-[0-9]-[0-9]", "too broad"),
        ("=", "too broad"),
        ('"', "too broad"),
        ("@", "too broad"),
        (r"[\s\S]{500,}", "too broad"),
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
        ("user.email", "is kept already"),
        ("tool_output", "is never stored"),
        ("api_request_body", "is never stored"),
        *(
            (name, "not stored in clear")
            for name in (
                "host.mac",
                "host.ip",
                "user.name",
                "user_email",
                "email",
                "account.uuid",
                "process.command_line",
                "file.path",
                "stderr",
                "extra",
                "customer.phone",
                "editor.text",
            )
        ),
        ("Odd Name", "should match pattern"),
    ],
)
def test_an_attribute_that_must_not_be_added_is_refused(name: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        validated([{"sanitize": {"attributes": [{"name": name, "why": "because"}]}}])
    assert reason.lower() in str(caught.value).lower()


def test_a_pattern_that_cuts_what_clients_send_is_refused() -> None:
    """Each word that a recorded client sends in an attribute that is no name of a member's own."""
    own = {"error", "skill.name", "plugin.name", "team", "chapter", "git.branch"}
    own |= {"vcs.owner.name", "vcs.repository.name", "vcs.ref.head.name"}
    own |= {each.name for each in rules.pseudonyms()}
    kept = {each.name for each in rules.attributes() if each.level == "none"} - own
    sent = {
        value
        for request in recorded.requests("logs")
        for attributes, resource, _ in recorded.events(request)
        for name, value in (resource | attributes).items()
        if name in kept and isinstance(value, str)
    }
    words = {each for each in sent if re.fullmatch(r"[A-Za-z][A-Za-z_.:-]+", each)}
    assert len(words) > 80
    for word in words:
        assert "too broad" in problem(regex=re.escape(word)), word


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
    text = through.kept(own_stack, {"book.part": "It was a dark night. " * 10})
    assert text["book.part"] == ("It was a dark night. " * 10)[: team.LABEL_CHARACTERS]
    explained = own_stack.ok("sanitize", "--explain")
    assert "case-number" in explained
    assert "book.part" in explained
