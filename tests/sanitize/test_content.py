"""Texts by content level, and code kept out of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from infra.collector import rules
from infra.settings import Settings, SettingsError, validated
from tests import made
from tests.conftest import Stack, until
from tests.sanitize import through

PROMPT = "Rewrite the opening of chapter three."
ANSWER = "It was a dark and stormy night."
COMMAND = json.dumps({"full_command": "make book", "description": "Build"})
INPUT = json.dumps({"file_path": "/srv/book/chapters/03.md", "old_string": "dark"})
ERROR = "Could not read the index of chapter three"
TEXTS = {
    "prompt": PROMPT,
    "response": ANSWER,
    "tool_parameters": COMMAND,
    "tool_input": INPUT,
    "error": ERROR,
}


def stored(stack: Stack, *records: dict[str, Any]) -> list[dict[str, str]]:
    """The texts kept of each record, by attribute."""
    session = str(uuid.uuid4())
    sent = [through.log(session, number, texts) for number, texts in enumerate(records)]
    assert stack.post("logs", made.request(*sent)) == 200
    query = "SELECT count() FROM telemetry_events WHERE session_id = {s:String}"
    until(lambda: stack.member(query, s=session)[0][0] == len(records))
    rows = stack.member(
        "SELECT seq, kind, content FROM event_content WHERE session_id = {s:String}", s=session
    )
    return [
        {kind: text for seq, kind, text in rows if seq == number} for number in range(len(records))
    ]


@pytest.mark.stack
@pytest.mark.parametrize("level", rules.LEVELS)
def test_a_level_keeps_what_it_says_and_nothing_else(own_stack: Stack, level: str) -> None:
    own_stack.change(content=level)
    own_stack.ok("up")
    [kept] = stored(own_stack, {**TEXTS, "prompt_text": PROMPT, "body": "whole", "unheard_of": "x"})
    assert (
        set(kept)
        == {
            "none": set(),
            "commands": {"tool_parameters", "error.message"},
            "prompts": {"tool_parameters", "error.message", "prompt"},
            "full": {"tool_parameters", "error.message", "prompt", "response", "tool_input"},
        }[level]
    )
    if level == "full":
        assert kept["prompt"] == PROMPT
        assert kept["response"] == ANSWER
        assert json.loads(kept["tool_parameters"]) == json.loads(COMMAND)
    everywhere = str(own_stack.member("SELECT * FROM telemetry_events"))
    assert PROMPT not in everywhere, "a text stands in its own table alone, which is kept for less"
    assert ANSWER not in everywhere


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that keeps all it may, with code kept out."""
    made = Stack(
        tmp_path_factory.mktemp("full"),
        content="full",
        code={"excludePaths": ["src/secret/**", "*.key"], "excludeTools": ["WebFetch"]},
    )
    made.ok("up")
    yield made
    made.down()


@pytest.mark.stack
def test_contents_of_files_are_never_kept(full: Stack) -> None:
    for key in ("content", "old_string", "new_string", "new_source", "file_text"):
        text = 'def f():\n    return "x\\y"'
        given = json.dumps({"file_path": "/srv/a.py", key: text, "limit": 3})
        [plain, inner, cut] = stored(
            full,
            {"tool_input": given},
            {"tool_input": json.dumps({"arguments": given})},
            {"tool_input": given[: given.index("return")]},
        )
        assert json.loads(plain["tool_input"])[key] == "[contents]"
        assert json.loads(plain["tool_input"])["limit"] == 3
        for each in (plain, inner, cut):
            assert "def f" not in each["tool_input"], key
            assert "return" not in each["tool_input"], key


@pytest.mark.stack
def test_code_in_prompts_answers_and_commands_is_cut_out(full: Stack) -> None:
    fenced = "Look:\n```python\nsecret_sauce()\n```\nand fix it."
    unclosed = "Look:\n```\nsecret_sauce()"
    diff = "Apply this:\ndiff --git a/x b/x\n@@ -1 +1 @@\n+secret_sauce()"
    heredoc = json.dumps({"full_command": "cat > x.py <<'EOF'\nsecret_sauce()\nEOF\necho done"})
    found = stored(
        full, {"prompt": fenced}, {"response": unclosed}, {"prompt": diff},
        {"tool_parameters": heredoc},
    )  # fmt: skip
    assert found[0]["prompt"] == "Look:\n[code]\nand fix it."
    assert "secret_sauce" not in str(found)
    assert json.loads(found[3]["tool_parameters"])["full_command"].startswith("cat > x.py <<'EOF'")


@pytest.mark.stack
@pytest.mark.parametrize(
    "texts",
    [
        {"tool_input": json.dumps({"file_path": "/srv/book/src/secret/a/b.py"})},
        {"tool_input": json.dumps({"file_path": "C:\\book\\src\\secret\\b.py"})},
        {"tool_parameters": json.dumps({"full_command": "cat src/secret/b.py | head"})},
        {"prompt": "Explain src/secret/b.py, please."},
        {"tool_parameters": json.dumps({"full_command": "cat deploy.key"})},
        {"tool_name": "WebFetch", "tool_input": json.dumps({"url": "https://example.com"})},
    ],
    ids=["path", "Windows path", "command", "prompt", "name", "tool"],
)
def test_texts_that_name_an_excluded_path_or_tool_are_not_kept(
    full: Stack, texts: dict[str, str]
) -> None:
    others = {"response": "What it said.", "error": "What went wrong"}
    assert stored(full, {**texts, **others}) == [{}]


@pytest.mark.stack
@pytest.mark.parametrize("path", ["src/secretary/b.py", "notsrc/secret/b.py", "deploy.keys"])
def test_texts_that_name_another_path_are(full: Stack, path: str) -> None:
    [kept] = stored(full, {"tool_input": json.dumps({"file_path": path})})
    assert json.loads(kept["tool_input"]) == {"file_path": path}


@pytest.mark.stack
def test_only_files_that_are_included_keep_their_contents(own_stack: Stack) -> None:
    own_stack.change(content="full", code={"includeOnly": ["chapters/**/*.md"]})
    own_stack.ok("up")
    chapter = json.dumps({"file_path": "/srv/book/chapters/2/a.md", "content": "Once upon a time"})
    code = json.dumps({"file_path": "/srv/book/src/a.py", "content": "secret_sauce()"})
    found = stored(own_stack, {"tool_input": chapter}, {"tool_input": code}, {"prompt": PROMPT})
    assert json.loads(found[0]["tool_input"])["content"] == "Once upon a time"
    assert found[1] == {}
    assert found[2] == {"prompt": PROMPT}


@pytest.mark.stack
def test_texts_are_kept_for_a_shorter_time(own_stack: Stack) -> None:
    own_stack.change(content="full", retention={"contentDays": 3})
    own_stack.ok("up")
    [(made,)] = own_stack.admin(
        "SELECT create_table_query FROM system.tables "
        "WHERE database = 'telemetry' AND name = 'event_content'"
    )
    assert "toIntervalDay(3)" in made


@pytest.mark.parametrize(
    "code",
    [
        {"excludePaths": ["**"]},
        {"excludePaths": ['a"b']},
        {"includeOnly": [""]},
        {"excludeTools": ["Bash("]},
    ],
)
def test_a_glob_or_tool_that_is_none_is_refused(code: dict[str, list[str]]) -> None:
    with pytest.raises(SettingsError, match="Mend it with"):
        validated([{"code": code}])


def test_the_default_keeps_no_text() -> None:
    assert Settings().content == "none"
    assert rules.content("none") == ()
