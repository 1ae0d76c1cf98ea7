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


SAUCE = "secret_sauce"
CODE = f'def {SAUCE}():\n    """Stir."""\n    return "x\\y" + \'{SAUCE}\'\n'
FILE = {"file_path": "/srv/a.py", "limit": 3}


@pytest.mark.stack
def test_of_an_input_that_names_a_file_only_listed_fields_stay(full: Stack) -> None:
    inputs: list[dict[str, Any]] = [
        {**FILE, "text": CODE},
        {**FILE, "unheard of": CODE, "replace_all": True},
        {**FILE, "edits": [{"oldText": CODE, "newText": CODE}, {"old": CODE, "new": CODE}]},
        {**FILE, "lines": [CODE, CODE]},
        {"notebook_path": "a.ipynb", "new_source": CODE, "cell_id": "c", "edit_mode": "insert"},
        {"command": "create", "path": "a.py", "file_text": CODE},
        {"files": [{"path": "a.py", "content": CODE}], "branch": "x"},
        {"files": {"a.py": CODE, "b.py": CODE}},
        {"server": "x", "arguments": json.dumps({**FILE, "data": CODE})},
        {"file": CODE},
    ]
    texts = [*map(json.dumps, inputs), json.dumps(inputs[0], indent=2), str(inputs[0])]
    found = stored(full, *({"tool_input": text} for text in texts))
    assert SAUCE not in str(found)
    kept = [json.loads(each["tool_input"]) for each in found[: len(inputs)]]
    gone = "[contents]"
    assert kept[:6] == [
        {**FILE, "text": gone},
        {**FILE, "unheard of": gone, "replace_all": True},
        {**FILE, "edits": [{"oldText": gone, "newText": gone}, {"old": gone, "new": gone}]},
        {**FILE, "lines": gone},
        {"notebook_path": "a.ipynb", "new_source": gone, "cell_id": "c", "edit_mode": "insert"},
        {"command": "create", "path": "a.py", "file_text": gone},
    ]
    assert kept[7] == {"files": {"a.py": gone, "b.py": gone}}


@pytest.mark.stack
def test_of_other_inputs_fields_that_hold_what_a_file_holds_go(full: Stack) -> None:
    inputs: list[dict[str, Any]] = [
        *({key: CODE, "limit": 3} for key in ("code", "fileContent", "rawData", "newText", "body")),
        {"lines": [CODE, CODE], "limit": 3},
        {"edits": [{"old": CODE, "new": CODE}], "limit": 3},
        {"arguments": json.dumps({"source": [CODE, CODE]}), "limit": 3},
    ]
    texts = [*map(json.dumps, inputs), *map(str, inputs)]
    found = stored(full, *({"tool_input": text} for text in texts))
    assert SAUCE not in str(found)
    for each in found[: len(inputs)]:
        assert json.loads(each["tool_input"])["limit"] == 3


@pytest.mark.stack
def test_inputs_without_contents_stay_as_they_are(full: Stack) -> None:
    inputs: list[dict[str, Any]] = [
        {"file_path": "C:\\book\\new\\a.py", "offset": 1, "limit": 2},
        {"pattern": 'say "so"', "path": "/srv", "output_mode": "content", "glob": "*.md", "-A": 3},
        {"description": "Look around", "prompt": "See what 'there' is", "subagent_type": "general"},
        {"url": "https://example.com/a.html", "prompt": "What is new?"},
        {"query": "what is (this)?"},
    ]
    found = stored(full, *({"tool_input": json.dumps(each)} for each in inputs))
    assert [json.loads(each["tool_input"]) for each in found] == inputs


COMMANDS = [
    # What it is, and what is kept of it.
    (f"printf '{SAUCE}(1)\\n' > a.py && make", "printf [contents] > a.py && make"),
    (f"printf '%s' 'it'\\''s' \"{SAUCE} \\\"x\\\" {SAUCE}\" >> a.py", "printf [contents] >> a.py"),
    (f"printf > a.py '%s' '{SAUCE}'", "printf > a.py [contents] "),
    (f"echo '{SAUCE}' | sudo tee a.py", "echo [contents] | sudo tee a.py"),
    (f"{{ echo '{SAUCE}'; echo b; }} > f", "{ echo [contents] ; echo [contents] ; } > f"),
    (f"cd x\necho $'it\\'s {SAUCE}' > f", "cd x\necho [contents] > f"),
    (f'bash -c "echo \\"{SAUCE}\\" > f"', 'bash -c "echo [contents] > f"'),
    (f"python3 -X utf8 -c \"{SAUCE}('x')\nx\" && make", "python3 -X utf8 -c [contents] && make"),
    (f"node -e '{SAUCE}(\"x\")' | head", "node -e [contents] | head"),
    (f"perl -i -pe 's/a/{SAUCE}/' f; ls", "perl -i -pe [contents] ; ls"),
    (f"sed -i 's/a/{SAUCE}/' f; ls", "sed -i [contents] ; ls"),
    (f"tee f <<<'{SAUCE}' && ls", "tee f <<< [contents] && ls"),
    (f"cat <<'EOF' > \"/a b/f\"\n{SAUCE}\nEOF\nls", "cat <<'EOF' > \"/a b/f\" [contents]"),
    (f"apply_patch '*** Begin Patch\n+{SAUCE}'", "apply_patch '[code]"),
    (f"printf '{SAUCE}…[300 chars]", "printf [contents] "),
]  # fmt: skip
HARMLESS = [
    "echo hello",
    "echo done && cat a | head",
    "echo 'login failed' >&2; exit 3",
    "for i in 1 2; do echo $i; done 2>/dev/null",
    "git commit -q -m 'Add greet' && git log | head -1",
    "python -m pytest -q -c pytest.ini 2>/dev/null | tail -3",
    "sed -n '1,20p' f > g",
    "node server.js",
]


@pytest.mark.stack
def test_what_commands_write_or_run_is_cut_out_and_the_rest_stays(full: Stack) -> None:
    commands = [*COMMANDS, *((each, each) for each in HARMLESS)]
    parameters = [{"full_command": each, "description": "What"} for each, _ in commands]
    found = stored(full, *({"tool_parameters": json.dumps(each)} for each in parameters))
    kept = [json.loads(each["tool_parameters"]) for each in found]
    assert [each["full_command"] for each in kept] == [wanted for _, wanted in commands]
    assert {each["description"] for each in kept} == {"What"}
    shapes = [
        *({"tool_parameters": json.dumps({"x": json.dumps(each)})} for each in parameters),
        *({"tool_parameters": each} for each, _ in commands),
        *({"error": f"Command failed: {each}"} for each, _ in commands),
    ]
    assert SAUCE not in str(stored(full, *shapes))


@pytest.mark.stack
def test_blocks_of_code_are_found_whatever_their_fences(full: Stack) -> None:
    texts = {
        f"a\n~~~py\n{SAUCE}\n~~~\nend": "a\n[code]\nend",
        f"a\n~~~py\n{SAUCE}": "a\n[code]",
        f"- a\n\n    ```py\n    {SAUCE}\n    ```\nend": "- a\n\n    [code]\nend",
        f"> ```\n> {SAUCE}\n> ```\nend": "> [code]\nend",
        f"````md\n```py\n{SAUCE}\n```\n{SAUCE}\n````\nend": "[code]\nend",
        f"```py\nx = '```' + {SAUCE}\n{SAUCE}\n```\nend": "[code]\nend",
        f"a\r\n```py\r\n{SAUCE}\r\n```\r\nend": "a\r\n[code]\r\nend",
        f"say ```{SAUCE}``` and": "say [code] and",
        f"a\n--- a/x\n+++ b/x\n+{SAUCE}": "a\n[diff]",
        "a ~~struck~~ word and ~~~ so `on`\nend": "a ~~struck~~ word and ~~~ so `on`\nend",
    }
    found = stored(full, *({"prompt": text, "response": text} for text in texts))
    assert [each["prompt"] for each in found] == list(texts.values())
    assert [each["response"] for each in found] == list(texts.values())
    error = f"String to replace not found in file.\nString: {CODE}"
    asked = json.dumps({"description": "x", "prompt": f"Do:\n~~~\n{CODE}\n~~~\n"})
    assert SAUCE not in str(stored(full, {"error": error}, {"tool_input": asked}))


@pytest.mark.stack
def test_what_was_cut_out_once_stays_as_it_is(full: Stack) -> None:
    """Another collector may have been there before, with the same rules."""
    texts = [
        *({"tool_parameters": json.dumps({"full_command": each})} for each, _ in COMMANDS),
        {"tool_input": json.dumps({**FILE, "edits": [{"oldText": CODE}]})},
        {"tool_input": json.dumps({"lines": [CODE, CODE]})},
        {"tool_input": str({"content": CODE})},
        {"prompt": f"a\n~~~py\n{SAUCE}\n~~~\nend"},
    ]
    once = stored(full, *texts)
    assert stored(full, *once) == once


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
    here = json.dumps({"file_path": "chapters/2/a.md", "content": "```\necho x > f\n```"})
    both = json.dumps({"files": [json.loads(chapter), json.loads(code)]})
    hidden = json.dumps({"x": json.dumps({"path": "src/a.py", "content": "see chapters/2/a.md"})})
    found = stored(
        own_stack,
        *({"tool_input": each} for each in (chapter, here, code, both, hidden)),
        {"prompt": PROMPT},
        {"tool_input": json.dumps({"content": CODE, "limit": 3})},
    )
    assert json.loads(found[0]["tool_input"])["content"] == "Once upon a time"
    assert json.loads(found[1]["tool_input"]) == json.loads(here)
    assert found[2:5] == [{}, {}, {}]
    assert found[5] == {"prompt": PROMPT}
    assert json.loads(found[6]["tool_input"]) == {"content": "[contents]", "limit": 3}


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
