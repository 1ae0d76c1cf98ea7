"""The rules of sanitization: one source for the collector, the documents and the tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints

_HERE = Path(__file__).parent

# What is searched is in lower case: a word that is not would never be found, and its secrets pass.
_Word = Annotated[str, StringConstraints(pattern=r"^[^A-Z]+$")]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pattern(_Rule):
    """A class of secrets or personal data that is cut out of every value."""

    name: str
    what: str
    regex: str
    """RE2. Where `keep` is set, capture group 1 is the text before the secret, which stays."""
    needs: tuple[tuple[_Word, ...], ...] = ()
    """In lower case. Each match holds a word of each; without any, every record is searched."""
    keep: bool = False
    after: str = ""
    """Text consumed behind the secret, put back."""
    examples: tuple[str, ...]
    stays: tuple[str, ...]


class Pseudonym(_Rule):
    """An attribute whose value is replaced by a keyed hash."""

    name: str
    why: str


class Attribute(_Rule):
    """An attribute that may be stored."""

    name: str
    why: str
    column: str = ""
    """Typed column that holds it; empty means it stands in `extra`."""


def _read(name: str) -> Any:
    return yaml.safe_load((_HERE / name).read_text(encoding="utf-8"))


@cache
def patterns() -> tuple[Pattern, ...]:
    """Patterns in the order they apply."""
    return tuple(Pattern.model_validate(entry) for entry in _read("patterns.yaml"))


@cache
def pseudonyms() -> tuple[Pseudonym, ...]:
    """Attributes stored only as a keyed hash."""
    return tuple(Pseudonym.model_validate(entry) for entry in _read("pseudonyms.yaml"))


@cache
def attributes() -> tuple[Attribute, ...]:
    """The allow-list."""
    return tuple(Attribute.model_validate(entry) for entry in _read("attributes.yaml"))
