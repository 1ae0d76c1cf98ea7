"""What a team may add to the rules, and why some of it is refused."""

from __future__ import annotations

import re
from functools import cache

import re2
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from infra.collector.rules import builtin

_LONG = "The rain had stopped, and the harbour lay still. " * 40
_OURS = re.compile(
    r"^(?:host|user|enduser|organization|account|client|device|process|file|code|exception)\.|mail|phone"
    r"|(?:^|[._])(?:user_?name|full_?name|address|ip|mac|uuid|password|passwd|secret|credentials?|token|"
    r"cookie|authorization|prompt|response|body|content|text|input|output|stdout|stderr|command|"
    r"command_line|message|diff|patch|path|url|extra|member)$"
)
"""Names that say who somebody is, where something lies, or that a text stands there."""


@cache
def _usual() -> tuple[str, ...]:
    """What every session sends, and one long text: a pattern that matches anything is in it."""
    return (*(each for values in builtin.usual().values() for each in values), _LONG)


@cache
def _marks() -> tuple[str, ...]:
    """What the built-in rules leave behind."""
    return (
        *(f"[redacted:{each.name}]" for each in builtin.patterns()),
        "p1:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        *("[path]", "[quoted]", "[n]", "[code]", "[diff]", "[contents]", "\u2026[cut]"),
    )


_PLAIN = re.compile(r"[A-Za-z0-9 _:,@#=-]+")
_TELLING = 3
_SHOWN = 60


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class _Added(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class TeamPattern(_Added):
    """A class of texts that a team wants cut out besides."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,39}$")
    what: str = Field(min_length=1, max_length=200)
    regex: str = Field(min_length=1, max_length=1000)
    examples: tuple[str, ...] = Field(min_length=1)
    stays: tuple[str, ...] = ()

    @field_validator("name")
    @classmethod
    def _new(cls, value: str) -> str:
        if value in {each.name for each in builtin.patterns()}:
            message = (
                f"`{value}` is a built-in pattern, which cannot be replaced; choose another name"
            )
            raise ValueError(message)
        return value

    @field_validator("regex")
    @classmethod
    def _safe(cls, value: str) -> str:
        try:
            compiled = builtin.compiled(value)
        except re2.error as error:
            said = error.args[0]
            text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            message = (
                f"`{value}` is no RE2 regular expression ({text}); RE2 has no look-ahead, no "
                "look-behind and no back-references"
            )
            raise ValueError(message) from None
        if compiled.search(""):
            message = f"`{value}` matches nothing at all, so it would match everywhere"
            raise ValueError(message)
        for text in _usual():
            found = compiled.search(text)
            if found:
                message = (
                    f"`{value}` is too broad: it would cut `{_short(found.group())}` out of "
                    f"`{_short(text)}`, which every session sends"
                )
                raise ValueError(message)
        for text in _marks():
            if compiled.search(text):
                message = f"`{value}` would cut into `{text}`, which a built-in rule leaves behind"
                raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _does_what_it_says(self) -> TeamPattern:
        compiled = builtin.compiled(self.regex)
        for text in self.examples:
            if not compiled.search(text):
                message = f"pattern `{self.name}` does not match its own example `{text}`"
                raise ValueError(message)
        for text in self.stays:
            if compiled.search(text):
                message = f"pattern `{self.name}` matches `{text}`, which must stay"
                raise ValueError(message)
        return self

    @property
    def pattern(self) -> builtin.Pattern:
        """As the built-in ones, for the collector."""
        return builtin.Pattern(
            name=self.name,
            kind="team",
            what=self.what,
            # Its groups are its own: none of them stays.
            regex=f"(?:{self.regex})",
            examples=self.examples,
            stays=self.stays,
            plant=self.examples[0],
            needs=self._needs(),
        )

    def _needs(self) -> tuple[tuple[str, ...], ...]:
        """The plain text that every match begins with, where there is one to see: records without
        it are not searched."""
        begins = _PLAIN.match(self.regex)
        if begins is None or "|" in self.regex:
            return ()
        text = begins[0]
        if self.regex[len(text) : len(text) + 1] in set("*?{"):
            text = text[:-1]  # the last character may be absent
        return ((text.lower(),),) if len(text) >= _TELLING else ()


LABEL_CHARACTERS = 128


class TeamAttribute(_Added):
    """An attribute that a team sends and wants to keep: a label, cut after LABEL_CHARACTERS."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_.]{0,63}$")
    why: str = Field(min_length=1, max_length=200)

    @field_validator("name")
    @classmethod
    def _free(cls, value: str) -> str:
        reason = ""
        if value in {each.name for each in builtin.refused()}:
            reason = "is never stored"
        elif value in {each.name for each in builtin.attributes() if each.level != "none"}:
            reason = "is text: choose a content level (telemetry:content)"
        elif value in {each.name for each in builtin.attributes()}:
            reason = "is kept already"
        elif value.startswith("telemetry."):
            reason = "belongs to the collector"
        elif _OURS.search(value):
            reason = (
                "sounds like a person, a machine, a place or a text, which are not stored in "
                "clear: send a label under a name of your own"
            )
        if reason:
            raise ValueError(f"`{value}` {reason}")
        return value
