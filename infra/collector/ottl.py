"""Pieces of OTTL, the language of the transform processor, that more than one step writes."""

from __future__ import annotations

import re
from collections.abc import Iterable


def literal(text: str) -> str:
    """A string literal, as it stands in the collector's YAML: a `$` there stands for a variable
    unless doubled."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped.replace("$", "$$")}"'


def either(names: Iterable[str]) -> str:
    """RE2 of any of these names; in order, so that equal beginnings stand together."""
    return f"^(?:{'|'.join(re.escape(name) for name in sorted(names))})$"


def names(each: Iterable[str]) -> str:
    """What stands between the brackets of a list of names."""
    return ", ".join(f'"{name}"' for name in each)


def attribute(path: str, name: str) -> str:
    """An attribute of a record, data point, resource or scope."""
    return f'{path}.attributes["{name}"]'


def replace(value: str, regex: str, shown: str) -> str:
    """A statement that puts `shown` in place of every match in a value, where there is one."""
    return f"replace_pattern({value}, {literal(regex)}, {literal(shown)}) where {value} != nil"


def shorten(value: str, characters: int) -> str:
    """A statement that leaves a value's first characters."""
    return replace(value, f"^(?s)(.{{{characters}}}).*$", "${1}")
