"""`telemetry env`, `run` and the templates: what Claude Code is told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from infra import client
from infra.settings import Settings
from scripts import context, env
from stacks.home import PROJECT
from tests.conftest import Stack

ODD = "Kapitel 3: \"Über, alles\"; 50% = \\half\\ 'ü'"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Someone else's repository, with a branch and a folder a chapter."""
    folder = tmp_path / "book"
    (folder / "chapters" / "03-data").mkdir(parents=True)
    for words in (["init", "-q", "-b", "feature/ch07-graphs"],):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def exported(text: str, name: str) -> str:
    """What a variable is after a POSIX shell has evaluated the lines."""
    return subprocess.run(
        ["sh", "-c", f'{text}\nprintf %s "${name}"'], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("value", [ODD, "plain", "a=b,c=d", "tab\there", "文学"])
def test_any_value_survives_the_shell_and_the_encoding(value: str) -> None:
    found = client.enabled(Settings(), client.WorkContext(chapter=value))
    text = exported(env.rendered(found, "bash"), "OTEL_RESOURCE_ATTRIBUTES")
    key, _, encoded = text.partition("=")
    assert (key, unquote(encoded)) == ("chapter", value)
    assert all(0x21 <= ord(letter) <= 0x7E and letter not in '",;\\' for letter in encoded)


def test_the_templates_and_the_command_come_from_one_source() -> None:
    for name, text in client.templates(Settings()).items():
        path = PROJECT / ".claude" / "env-config" / name
        assert path.read_text() == text
    lines = (PROJECT / ".claude" / "env-config" / client.ENABLED_FILE).read_text().splitlines()
    set_there = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    printed = client.enabled(Settings(), client.WorkContext())
    assert set_there == {each.name: each.value for each in printed}


def test_no_text_of_a_person_is_asked_of_the_client() -> None:
    found = {each.name: each.value for each in client.enabled(Settings(), client.WorkContext())}
    gates = {name: value for name, value in found.items() if name.startswith("OTEL_LOG_")}
    assert len(gates) == 5
    assert set(gates.values()) == {"0"}


def test_no_exporter_is_named_where_telemetry_is_off() -> None:
    # Client 2.0.1 ends with an error where one is called `none`; empty is off for every version.
    found = {each.name: each.value for each in client.disabled()}
    exporters = {name: value for name, value in found.items() if name.endswith("_EXPORTER")}
    assert exporters == {"OTEL_LOGS_EXPORTER": "", "OTEL_METRICS_EXPORTER": ""}


def test_the_port_is_the_configured_one(own_stack: Stack) -> None:
    port = own_stack.settings.ports.otlp_http
    text = own_stack.ok("env")
    assert exported(text, "OTEL_EXPORTER_OTLP_ENDPOINT") == f"http://127.0.0.1:{port}"


def test_the_chapter_is_named_else_found_by_path_else_by_branch(
    own_stack: Stack, repository: Path
) -> None:
    chapters = {
        "paths": {"chapters/03-*": "data"},
        "branches": {r"^feature/(ch\d+)": r"\1"},
    }
    own_stack.change(context={"team": "book club", "chapters": chapters})

    def attributes(folder: Path, *words: str, **options: dict[str, str]) -> dict[str, str]:
        done = own_stack.ok("env", *words, cwd=folder, **options)
        text = exported(done, "OTEL_RESOURCE_ATTRIBUTES")
        return {k: unquote(v) for k, v in (pair.split("=", 1) for pair in text.split(","))}

    inside = repository / "chapters" / "03-data"
    assert attributes(repository) == {
        "team": "book club",
        "chapter": "ch07",
        "git.branch": "feature/ch07-graphs",
    }
    assert attributes(inside)["chapter"] == "data"
    assert attributes(inside, env={"TELEMETRY_CHAPTER": "preface"})["chapter"] == "preface"
    assert attributes(inside, "--chapter", "index")["chapter"] == "index"


def test_outside_a_repository_nothing_is_invented(tmp_path: Path) -> None:
    assert context.of_folder(Settings(), tmp_path) == client.WorkContext()


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    commit = ["git", *identity, "commit", "-q", "--allow-empty", "-m", "x"]
    subprocess.run(commit, cwd=repository, check=True)
    subprocess.run(["git", "checkout", "-q", "--detach"], cwd=repository, check=True)
    assert context.branch(repository) == ""


def test_the_settings_file_form_freezes_no_branch_and_no_chapter(
    own_stack: Stack, repository: Path
) -> None:
    own_stack.change(context={"team": "book"})
    found = json.loads(own_stack.ok("env", "--shell", "json", "--chapter", "3", cwd=repository))
    assert found["env"]["OTEL_RESOURCE_ATTRIBUTES"] == "team=book"
    assert all(isinstance(value, str) for value in found["env"].values())


def test_fish_gets_its_own_syntax() -> None:
    variable = client.Variable("NAME", "a'b\\c", "")
    assert env.rendered([variable], "fish") == "set -gx NAME 'a\\'b\\\\c';"


def test_run_becomes_the_program_with_its_exit_code(own_stack: Stack, repository: Path) -> None:
    script = 'echo "$CLAUDE_CODE_ENABLE_TELEMETRY $1"; exit 7'
    done = own_stack.run("run", "--", "sh", "-c", script, "-", "--help", cwd=repository)
    assert (done.returncode, done.stdout) == (7, "1 --help\n")
    missing = own_stack.run("run", "--", "no-such-program")
    assert missing.returncode == 1
    assert "no-such-program cannot be run" in missing.stderr
