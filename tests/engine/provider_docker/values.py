"""Checks and compares arguments by their schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .schema import UNKNOWN, Field, Values

_GO_UNITS = {"h": 3600e9, "m": 60e9, "s": 1e9, "ms": 1e6, "us": 1e3, "µs": 1e3, "ns": 1.0}
_SHAPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "whole": (int, float),
    "flag": (bool,),
    "texts": (list,),
    "textset": (list,),
    "map": (dict,),
    "block": (dict,),
    "blocks": (list,),
    "ordered": (list,),
}
_EMPTY: dict[str, Any] = {"text": "", "whole": 0, "flag": False, "map": {}, "block": None}


def failures(
    fields: Mapping[str, Field], values: Values, at: str = ""
) -> Iterator[tuple[str, str]]:
    """(argument, reason) for everything the plugin would refuse before it does anything."""
    for name in values:
        if name not in fields and not name.startswith("__"):
            yield at + name, f"there is no argument {name!r} here; known are {', '.join(fields)}"
    for name, field in fields.items():
        value = values.get(name)
        if value is None:
            if field.required:
                yield at + name, "is required"
        elif value != UNKNOWN:
            yield from _value_failures(field, value, at + name)


def _value_failures(field: Field, value: Any, at: str) -> Iterator[tuple[str, str]]:
    entries = value if isinstance(value, list) else [value]
    fits = isinstance(value, _SHAPES[field.kind])
    if not fits or (field.kind == "whole" and isinstance(value, bool)):
        yield at, f"{value!r} is not of the kind {field.kind}"
        return
    if field.kind == "whole" and value != int(value):
        yield at, f"{value!r} is not a whole number"
    if field.pattern and not re.fullmatch(field.pattern, value):
        yield at, f"{value!r} does not match the pattern {field.pattern}"
    if field.duration and (complaint := duration_complaint(value)):
        yield at, complaint
    if field.fields is not None:
        for number, entry in enumerate(entries):
            where = f"{at}[{number}]." if isinstance(value, list) else f"{at}."
            if isinstance(entry, dict):
                yield from failures(field.fields, entry, where)
            elif entry != UNKNOWN:
                yield where.rstrip("."), f"{entry!r} is not an object"


def nanoseconds(duration: str) -> int:
    """Parses a duration as Go does; ValueError if Go would not."""
    if duration == "0":
        return 0
    if not re.fullmatch(r"((\d+\.?\d*|\.\d+)(h|ms|m|s|us|µs|ns))+", duration):
        raise ValueError(f"{duration!r} is not a duration")
    parts = re.findall(r"([\d.]+)(h|ms|m|s|us|µs|ns)", duration)
    return round(sum(float(number) * _GO_UNITS[unit] for number, unit in parts))


def go_duration(nanos: int) -> str:
    """Writes a duration as Go does: 90 s is "1m30s"."""
    if nanos == 0:
        return "0s"
    if nanos < 1_000_000_000:
        for unit in ("ms", "µs", "ns"):
            if nanos >= _GO_UNITS[unit]:
                return f"{nanos / _GO_UNITS[unit]:.9g}{unit}"
    minutes, rest = divmod(nanos, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / 1e9:.9f}".rstrip("0").rstrip(".") + "s"
    return (f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else "") + seconds


def go_cpus(nanos: int) -> str:
    """Writes a number of CPUs as the plugin reads it back: 2 is "2.0", and 10 is "10."."""
    text = f"{nanos / 1e9:.9f}"
    return f"{nanos / 1e9:.1f}" if text.count("0") == 9 else text.rstrip("0")


def duration_complaint(text: str) -> str:
    try:
        canonical = go_duration(nanoseconds(text))
    except ValueError as error:
        return f"{error}; write it as Go does, such as 1m30s"
    return "" if text == canonical else f"write {canonical!r}: {text!r} would differ at every up"


def normal(field: Field, value: Any) -> Any:
    """A form in which two values are equal if the plugin takes them for equal."""
    if value == UNKNOWN:
        return UNKNOWN
    if value is None:
        value = field.default
    if field.kind == "whole":
        return int(value or 0)
    if field.kind in ("text", "flag", "map"):
        return value if value is not None else _EMPTY[field.kind]
    if field.kind == "texts":
        return list(value or [])
    if field.kind == "textset":
        return sorted(value or [])
    if field.kind == "block":
        return block(field, value) if value else None
    entries = [block(field, entry) if isinstance(entry, dict) else entry for entry in value or []]
    return sorted(entries, key=lambda entry: json.dumps(entry, sort_keys=True))


def block(field: Field, value: Values) -> Values:
    return {name: normal(inner, value.get(name)) for name, inner in (field.fields or {}).items()}


def differences(fields: Mapping[str, Field], state: Values, news: Values) -> dict[str, bool]:
    """The arguments in which `news` differs from `state`, each with whether that replaces."""
    return {
        name: field.replaces
        for name, field in fields.items()
        if _differs(name, field, state.get(name), news.get(name))
    }


def _differs(name: str, field: Field, old: Any, new: Any) -> bool:
    if new is None and field.computed:
        return False
    if name in ("user", "workingDir") and not new:
        return False
    if name == "ports" and isinstance(old, list) and isinstance(new, list):
        old = _without_chosen_ports(old, new)
    return bool(normal(field, old) != normal(field, new))


def _without_chosen_ports(old: list[Values], new: list[Values]) -> list[Values]:
    """`old` without the external ports that the engine chose because `new` names none."""
    free = {(port.get("internal"), port.get("protocol") or "tcp") for port in new
            if isinstance(port, dict) and port.get("external") is None}  # fmt: skip
    return [
        {**port, "external": None}
        if (port.get("internal"), port.get("protocol") or "tcp") in free
        else port
        for port in old
    ]
