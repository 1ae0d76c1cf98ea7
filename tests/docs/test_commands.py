"""A command, an option, a target or a setting that a document names is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
import yaml

from infra.settings import PROJECT as PREFIX
from infra.settings import validated
from scripts.cli import app
from scripts.docs import settings
from stacks.home import PROJECT

from .reading import Document, documents

GROUP: Any = typer.main.get_command(app)


def below(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Commands by name; those of a group within it are two words."""
    for name, each in group.commands.items():
        yield before + name, each
        yield from below(each, f"{before}{name} ") if hasattr(each, "commands") else ()


COMMANDS = dict(below(GROUP))
COMMAND = re.compile(
    r"(?:^|[\s(`]|bin/)telemetry ((?:-\w|--?[a-z]|[a-z])[a-z-]*)([^\n|;&#)]*)", re.M
)
TARGET = re.compile(r"(?:^|\s)make ([a-z][a-z-]*)", re.MULTILINE)
GROUPS = {key.partition(".")[0] for key, _ in settings() if "." in key}
SINGLE = {key for key, _ in settings() if "." not in key}
SETTING = re.compile(
    rf"^(?:{PREFIX}:)?((?:{'|'.join(sorted(GROUPS))})\.[A-Za-z.]+|{'|'.join(sorted(SINGLE))})$"
)
EVERYWHERE = {"-h", "--help"}


def options(command: Any) -> set[str]:
    """Every spelling of every option of a command."""
    return EVERYWHERE | {
        word for each in command.params for word in (*each.opts, *each.secondary_opts)
    }


def named() -> Iterator[tuple[str, str, str]]:
    """Uses of the `telemetry` command: document, subcommand, the rest of the line."""
    for each in documents():
        for code in each.code():
            for word, rest in COMMAND.findall(code):
                second = rest.split()[0] if rest.split() else ""
                if f"{word} {second}" in COMMANDS:
                    yield each.name, f"{word} {second}", rest.partition(second)[2]
                else:
                    yield each.name, word, rest


def test_every_telemetry_command_in_a_document_exists_with_its_options() -> None:
    uses = list(named())
    wrong = []
    for where, word, rest in uses:
        if word in EVERYWHERE:
            continue
        if word not in COMMANDS:
            wrong.append(f"{where}: telemetry {word}")
            continue
        ours = rest.partition(" -- ")[0].partition('"')[0].partition("'")[0]
        unknown = set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", ours)) - options(COMMANDS[word])
        wrong += [f"{where}: telemetry {word} {option}" for option in sorted(unknown)]
    assert wrong == []
    assert {word for _, word, _ in uses} >= set(COMMANDS), "every command is told of"


def test_every_make_target_in_a_document_exists() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    there = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    uses = {
        (each.name, target)
        for each in documents()
        for code in each.code()
        for target in TARGET.findall(code)
    }
    assert {use for use in uses if use[1] not in there} == set()
    assert {"up", "test"} <= {target for _, target in uses}


def test_every_command_and_every_option_says_what_it_is_for() -> None:
    silent = [name for name, command in COMMANDS.items() if not command.help]
    silent += [
        f"{name} {parameter.opts[0]}"
        for name, command in COMMANDS.items()
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert silent == []


def test_every_setting_in_a_document_exists() -> None:
    there = {key for key, _ in settings()}
    uses = {
        (each.name, match[1])
        for each in documents()
        for code in each.inline()
        if (match := SETTING.match(code))
    }
    assert {use for use in uses if use[1] not in there} == set()
    assert there <= {key for _, key in uses}, "every setting is documented"


@pytest.mark.parametrize("document", documents(), ids=lambda each: each.name)
def test_settings_shown_as_an_example_are_accepted(document: Document) -> None:
    for block in document.blocks("yaml"):
        validated([yaml.safe_load(block)])
