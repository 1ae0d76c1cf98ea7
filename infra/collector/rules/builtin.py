"""The rules that always hold, read from the YAML files beside this one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import re2
import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

_HERE = Path(__file__).parent

# What is searched is in lower case: a word that is not would never be found, and its secrets pass.
_Word = Annotated[str, StringConstraints(pattern=r"^[^A-Z]+$")]

_LEFT = (
    r"(^|[^A-Za-z0-9]"
    # An escape of JSON or of a URL, the end of a colour, or a flag: each ends in a letter.
    r"|\\[nrtbf]|\\u[0-9a-fA-F]{4}|%[0-9A-Fa-f]{2}|\[[0-9;]{1,8}m|(?:^|\s)-[A-Za-z])"
)
_TELLING = 4
"""Characters of a prefix that need no beginning of a word before them."""
_MORE = r"[^\s\x1b\"'`\\,;&|<>(){}\[\]$]"
_SAID = r"[^\s\"'`”»\\,;<>()\[\]{}]"


_LETTERS_AND_DIGIT = (
    # Twenty letters and digits, a digit among them.
    "(?:[0-9][A-Za-z0-9]{19,}|[A-Za-z]{1,4}[0-9][A-Za-z0-9]{15,}|[A-Za-z]{5,8}[0-9][A-Za-z0-9]{11,}"
    "|[A-Za-z]{9,12}[0-9][A-Za-z0-9]{7,}|[A-Za-z]{13,16}[0-9][A-Za-z0-9]{3,}"
    "|[A-Za-z]{17,60}[0-9][A-Za-z0-9]*)"
)
_MIXED = (
    # A digit between letters of both cases, or nearly so, which is rare in words.
    "(?:[a-z][A-Z]{1,2}[0-9]|[A-Z][a-z]{1,2}[0-9]|[a-z][0-9]{1,3}[A-Z]"
    "|[A-Z][0-9]{1,3}[a-z]|[0-9][a-z]{1,2}[A-Z]|[0-9][A-Z]{1,2}[a-z])"
)
_MACROS = (
    (
        "<mixed>",
        f"(?:[A-Za-z0-9_+-]{{0,9}}{_MIXED}[A-Za-z0-9_+/-]{{18,}}"
        f"|[A-Za-z0-9_+-]{{10,30}}{_MIXED}[A-Za-z0-9_+/-]{{9,}})=*",
    ),
    (
        "<long>",
        f"(?:[A-Za-z0-9]{{0,4}}{_MIXED}[A-Za-z0-9]{{22,}}|[A-Za-z0-9]{{5,9}}{_MIXED}[A-Za-z0-9]{{17,}}"
        f"|[A-Za-z0-9]{{10,14}}{_MIXED}[A-Za-z0-9]{{12,}}|[A-Za-z0-9]{{15,}}{_MIXED}[A-Za-z0-9]{{7,}})",
    ),
    ("<random>", _LETTERS_AND_DIGIT),
    (
        "<run>",
        "(?:[0-9][A-Za-z0-9]{11,}|[A-Za-z]{1,4}[0-9][A-Za-z0-9]{7,}"
        "|[A-Za-z]{5,8}[0-9][A-Za-z0-9]{3,}|[A-Za-z]{9,40}[0-9][A-Za-z0-9]*)",
    ),
    ("<left>", _LEFT),
    ("<more>", _MORE),
    ("<said>", _SAID),
    ("<cut>", r"(?:…|%E2%80%A6|\\u2026)"),
    # Where a word begins, also behind an escape, which ends in a letter.
    ("<start>", r"(?:\b|\\[nrt])"),
    # What stands between a secret and its name in a sentence.
    (
        "<is>",
        "(?:is now|is|was|(?:changed|set|reset) to|are|ist|lautet|est|es|era|è|é|er|är|lyder|kuuluu"
        "|jest|je|zní|brzmi|este|είναι|это|равен|є|це|là|adalah|yaitu|ialah|है|हैं|هي|هو|היא|הוא|luidt)",
    ),
    # Blanks that no line is broken at, inside a class.
    ("<nbsp>", "\u00a0\u202f"),
    ("<nl>", r"(?:\r?\n|(?:\\+r)?\\+n)"),
    ("<ws>", r"(?:\s|\\+[nrt])*"),
    # Of a value, percent-encoded: no blank, quote, `&`, comma, semicolon or bracket.
    (
        "<url>",
        "(?:[A-Za-z0-9_.~!*()+/@:$-]|%(?:2[13-589ABDEFabdef]|3[0-9ADFadf]|[4-9A-Fa-f][0-9A-Fa-f]))",
    ),
    ("<named>", "\ue000"),
    ("<weak>", "\ue001"),
    ("<spared>", "\ue002"),
)
"""What stands for what in patterns.yaml."""


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


DIGITS = "[0-9].?[0-9]"
"""RE2 of two digits side by side, or nearly so."""
RUN = r"[a-z0-9_.+/=%~-]{12}|…|%e2%80%a6|\\u2026"
"""RE2 of a token in lower case, or of one that was cut short."""
MARK, _WEAK, SPARED = "\ue000", "\ue001", "\ue002"
"""Stand in a value while it is searched, of no meaning in Unicode: behind a telling name, behind
one that tells only of a random value, and in what is to stay."""
MARKS = f"[{MARK}-{SPARED}]"


class Spared(_Rule):
    """What would be cut and is to stay: between its two groups, SPARED keeps patterns off."""

    what: str
    regex: str
    needs: tuple[_Word, ...]


class Keys(_Rule):
    """Names that tell of a secret (keys.yaml)."""

    names: tuple[_Word, ...]
    words: tuple[_Word, ...]
    suffixes: tuple[_Word, ...]
    vendors: tuple[_Word, ...]
    parts: tuple[_Word, ...]
    harmless: tuple[_Word, ...]
    other: tuple[_Word, ...]
    empty: tuple[str, ...]
    said: tuple[str, ...]
    needs: tuple[_Word, ...]
    spared: tuple[Spared, ...]

    @property
    def expression(self) -> str:
        """RE2 of a name as a program or a sentence writes it (group 1), and what follows (2)."""
        names, words, suffixes = map(_either, (self.names, self.words, self.suffixes))
        return (
            rf"(?i)((?:(?:{names})|(?:\b|_|\\[nrt]|%[0-9a-f]{{2}})(?:{words}))"
            rf"(?:[_.-]?(?:{suffixes})|[_.-]?[0-9]{{1,2}})*)([^a-z0-9_]|$)"
        )

    @property
    def searched(self) -> tuple[str, ...]:
        """A record without any of these has nothing to mark."""
        return tuple(sorted({*self.needs, *self.vendors}))

    @property
    def unmarked(self) -> str:
        """RE2 of every mark: none is left in what is stored."""
        return MARKS

    @property
    def behind(self) -> str:
        """RE2 of the marks behind telling names."""
        return f"[{MARK}{_WEAK}]"

    @property
    def spare(self) -> str:
        """What stands in place of what is spared, as Go writes it."""
        return f"${{1}}{SPARED}${{2}}"

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """What sets the marks: expressions, and what stands in their place, as Go writes it."""
        vendors, parts, harmless = map(_either, (self.vendors, self.parts, self.harmless))
        names, other = _either((*self.names, *self.words)), _either(self.other)
        empty = "|".join(self.empty)
        between, end = (
            r"\\*[\"'`]?\s*(?:=>|:=|[:=])\s*\\*[\"'`]?",
            r"\\*[\"'`,;)}\]]|\s+[^\s=|]|\s*$",
        )
        return (
            (self.expression, f"${{1}}{MARK}${{2}}"),
            (
                rf"(?i)((?:^|[^/])key|(?:{vendors})(?:[_.-]?(?:{parts}))*)([^a-z0-9_{MARK}]|$)",
                f"${{1}}{_WEAK}${{2}}",
            ),
            (rf"(?i)((?:{harmless})[ _.-]?keys?){_WEAK}", "${1}"),
            (rf"(?i)({other}){MARK}", "${1}"),
            # What is given is one of the names itself, or is nothing.
            (
                rf"(?i){MARK}({between}(?:\p{{L}}{{1,20}}[ _-])?(?:{names})){MARK}?"
                rf"((?:[ _-]\p{{L}}{{1,20}})?\??(?:{end}))",
                "${1}${2}",
            ),
            (rf"(?i){MARK}({between}(?:{empty})(?:{end}))", "${1}"),
            (rf"(?i){MARK}((?:{'|'.join(self.said)}))", "${1}"),
        )


def _either(words: Iterable[str]) -> str:
    # The longer before its beginning, as the first that matches is taken; and equal beginnings side
    # by side, which Go then takes together.
    return "|".join(word.replace(" ", "[_. -]?") for word in sorted(words, reverse=True))


class Pattern(_Rule):
    """A class of secrets or personal data that is cut out of every value (patterns.yaml)."""

    name: str
    kind: Literal["secret", "person", "team"]
    what: str
    regex: str = ""
    regexes: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    body: str = ""
    least: int = 0
    named: bool = False
    """Searches only behind a telling name."""
    digits: bool = False
    """Each match that is worth something holds what DIGITS finds."""
    run: bool = False
    """Each match holds what RUN finds, in lower case."""
    needs: tuple[tuple[_Word, ...], ...] = ()
    """In lower case. Each match holds a word of each; without any, every record is searched."""
    examples: tuple[str, ...]
    stays: tuple[str, ...]
    plant: str
    """What a canary sends, `<n16>` and the like to be filled in by chance."""

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: Any) -> Any:
        """Its prefixes are what a token needs."""
        if isinstance(data, dict) and data.get("prefixes"):
            prefixes = [prefix.lower() for prefix in data["prefixes"]]
            (more,) = data.get("needs") or [[]]
            return {**data, "needs": [[*prefixes, *more]]}
        return data

    @model_validator(mode="after")
    def _one_form(self) -> Pattern:
        forms = [bool(self.regex), bool(self.regexes or self.prefixes)]
        if sum(forms) != 1 or bool(self.prefixes) != bool(self.body):
            raise ValueError("write either regex, or regexes or prefixes with body and least")
        return self

    @cached_property
    def expressions(self) -> tuple[str, ...]:
        """RE2, in the order they apply. Groups stay: unnamed before the secret, named behind it."""
        if self.prefixes:
            token = f"[{self.body}]"
            # Cut short by the client, it may be shorter than any token.
            rest = f"(?:{token}{{{self.least},}}|{token}*<cut>)"
            # A long one is telling even in the middle of a word.
            long, short = (
                "|".join(re2.escape(prefix) for prefix in group)
                for group in (
                    [each for each in self.prefixes if len(each) >= _TELLING],
                    [each for each in self.prefixes if len(each) < _TELLING],
                )
            )
            written: tuple[str, ...] = (
                *([f"(?:{long}){rest}"] if long else []),
                *([f"<left>(?:{short}){rest}"] if short else []),
                *self.regexes,
            )
        else:
            written = self.regexes or (self.regex,)
        return tuple(_expanded(each) for each in written)

    def around(self, expression: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Groups of a match that stay: before the secret, by number, and behind it, by name."""
        if self.kind == "team":  # its groups are its own
            return (), ()
        groups = compiled(expression)
        named = groups.groupindex
        numbers = range(1, groups.groups + 1)
        return tuple(n for n in numbers if n not in named.values()), tuple(named)

    def replacement(self, expression: str) -> str:
        """What stands in place of a match, in the notation of Go."""
        before, behind = self.around(expression)
        return "".join(
            [
                *(f"${{{number}}}" for number in before),
                f"[redacted:{self.name}]",
                *(f"${{{name}}}" for name in behind),
            ]
        )


def compiled(expression: str) -> re2.Pattern:
    """RE2's own, which says nothing by itself and has room for long alternatives.

    Raises re2.error for what is none.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 128 * 1024 * 1024
    return re2.compile(expression, options)


def _expanded(regex: str) -> str:
    for mark, text in _MACROS:
        regex = regex.replace(mark, text)
    return regex


class Pseudonym(_Rule):
    """An attribute whose value is replaced by a keyed hash."""

    name: str
    why: str


Level = Literal["none", "commands", "prompts", "full"]
LEVELS: tuple[Level, ...] = ("none", "commands", "prompts", "full")
"""How much text is kept; each holds what those before it hold."""


class Attribute(_Rule):
    """An attribute that may be stored."""

    name: str
    why: str
    column: str = ""
    """Typed column that holds it; empty means it stands in `extra`."""
    level: Level = "none"
    """The least content level that keeps it, as a row of `event_content`; `none`: always."""


class Ordinary(_Rule):
    """A form of values that no built-in pattern matches (ordinary.yaml)."""

    what: str
    regex: str
    attributes: tuple[str, ...] = ()
    """Those that have it; without any, the form of all the others."""
    resource: bool = False
    """They stand in a resource, not in a record."""


class Refused(_Rule):
    """An attribute that is known and never stored."""

    name: str
    why: str
    everywhere: bool = False
    """Nearly every record has it: it goes by a statement of its own, so that what the allow-list
    removes is rare."""


def _read(name: str) -> Any:
    return yaml.safe_load((_HERE / name).read_text(encoding="utf-8"))


@cache
def keys() -> Keys:
    """Names that tell of a secret."""
    return Keys.model_validate(_read("keys.yaml"))


@cache
def patterns() -> tuple[Pattern, ...]:
    """Patterns in the order they apply."""
    return tuple(Pattern.model_validate(entry) for entry in _read("patterns.yaml"))


@cache
def pseudonyms() -> tuple[Pseudonym, ...]:
    """Attributes stored only as a keyed hash."""
    return tuple(Pseudonym.model_validate(entry) for entry in _read("pseudonyms.yaml"))


@cache
def ordinary() -> tuple[Ordinary, ...]:
    """Forms of values that need not be searched; the last is of all attributes but those named."""
    return tuple(Ordinary.model_validate(entry) for entry in _read("ordinary.yaml"))


@cache
def usual() -> dict[str, tuple[str, ...]]:
    """Values that every session sends, by kind."""
    return {kind: tuple(values) for kind, values in _read("usual.yaml").items()}


@cache
def refused() -> tuple[Refused, ...]:
    """Attributes that are known and never stored."""
    return tuple(Refused.model_validate(entry) for entry in _read("refused.yaml"))


@cache
def attributes() -> tuple[Attribute, ...]:
    """The allow-list, of all content levels."""
    return tuple(Attribute.model_validate(entry) for entry in _read("attributes.yaml"))


def content(level: Level) -> tuple[Attribute, ...]:
    """Attributes whose text a content level keeps."""
    allowed = LEVELS[1 : LEVELS.index(level) + 1]
    return tuple(each for each in attributes() if each.level in allowed)
