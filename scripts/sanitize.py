"""`telemetry sanitize`: the rules that hold on this stack, and what they make of a text."""

from __future__ import annotations

from typing import BinaryIO

from infra.collector import content, rules
from infra.collector.rules.apply import Cut, Cutter
from infra.settings import Settings
from scripts import console, query


def read(stream: BinaryIO) -> str:
    """A text to look at. What is no UTF-8 in it becomes U+FFFD, as in the collector."""
    return stream.read().decode(errors="replace")


def cut(settings: Settings, text: str) -> Cut:
    """A text after the patterns, the team's too."""
    return Cutter(settings.sanitize.all_patterns)(text)


def explain(settings: Settings, form: query.Format) -> None:
    """All rules, on standard output."""
    kept = set(content.allowed(settings))
    texts = {each.name for each in rules.content(settings.content)}
    hashed = {each.name for each in rules.pseudonyms()}
    rows = [
        *(("refused", each.name, each.why) for each in rules.refused()),
        *(
            ("refused at this level", each.name, f"{each.why}; kept from `{each.level}` on")
            for each in rules.attributes()
            if each.name not in kept
        ),
        *(
            (
                "text" if each.name in texts else "pseudonym" if each.name in hashed else "kept",
                each.name,
                each.why,
            )
            for each in rules.attributes()
            if each.name in kept
        ),
        *(("kept (team)", each.name, each.why) for each in settings.sanitize.attributes),
        *((f"cut out ({each.kind})", each.name, each.what) for each in rules.patterns()),
        *(("cut out (team)", each.name, each.what) for each in settings.sanitize.patterns),
    ]
    if form == "table":
        console.say(
            f"Content level: {settings.content}. Any attribute that is not listed is dropped, and "
            "counted by name."
        )
    query.show(("rule", "name", "what or why"), rows, form)
