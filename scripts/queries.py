"""The shipped questions: queries/sql/*.sql, one a file.

A file opens with the question it answers, what its columns mean, and its parameters:

    -- What did each member cost?
    --
    -- share: part of the whole, in percent.
    -- param days UInt16 = 30 : days to look back, today included
    SELECT ... WHERE day > today() - {days:UInt16}

A parameter without `=` has no default and must be given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.errors import Misuse
from stacks.home import PROJECT

FOLDER = PROJECT / "queries" / "sql"

_PARAMETER = re.compile(
    r"^-- param (?P<name>\w+) (?P<type>\w+)(?P<optional> =(?: (?P<default>\S+))?)?"
    r" : (?P<meaning>.+)$"
)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What a question may be asked with."""

    name: str
    type: str
    """Of ClickHouse, such as UInt16."""
    default: str | None
    """None: must be given."""
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Query:
    """One question."""

    name: str
    question: str
    remarks: str
    parameters: tuple[Parameter, ...]
    sql: str

    def arguments(self, given: Mapping[str, str]) -> dict[str, str]:
        """All parameters, given or by default. Raises Misuse for one unknown or missing."""
        known = {each.name: each for each in self.parameters}
        for name in given:
            if name not in known:
                has = ", ".join(known) or "none"
                raise Misuse(f"`{self.name}` has no parameter {name!r}; it has: {has}.")
        found = {}
        for name, parameter in known.items():
            value = given.get(name, parameter.default)
            if value is None:
                raise Misuse(f"`{self.name}` needs --param {name}=...: {parameter.meaning}.")
            found[name] = value
        return found


def read(path: Path) -> Query:
    """One file. Raises ValueError where its head is not as described above."""
    text = path.read_text(encoding="utf-8")
    head = [line for line in text.splitlines() if line.startswith("--")]
    parameters, remarks = [], []
    for line in head[1:]:
        match = _PARAMETER.match(line)
        if match:
            default = (match["default"] or "") if match["optional"] else None
            parameters.append(
                Parameter(
                    name=match["name"],
                    type=match["type"],
                    default=default,
                    meaning=match["meaning"],
                )
            )
        elif line.startswith("-- param"):
            raise ValueError(f"{path.name}: {line!r} is no parameter")
        else:
            remarks.append(line.removeprefix("--").strip())
    if not head or not head[0].endswith("?"):
        raise ValueError(f"{path.name} does not open with its question")
    return Query(
        name=path.stem,
        question=head[0].removeprefix("--").strip(),
        remarks=" ".join(remarks).strip(),
        parameters=tuple(parameters),
        sql="\n".join(line for line in text.splitlines() if not line.startswith("--")),
    )


def shipped(folder: Path = FOLDER) -> dict[str, Query]:
    """All questions by name."""
    return {path.stem: read(path) for path in sorted(folder.glob("*.sql"))}


def named(name: str) -> Query:
    """The question of that name. Raises Misuse that names the nearest ones."""
    import difflib

    found = shipped()
    if name not in found:
        near = difflib.get_close_matches(name, found, n=3)
        hint = f" Do you mean {', '.join(near)}?" if near else ""
        raise Misuse(f"There is no query {name!r}.{hint} `telemetry query --list` shows all.")
    return found[name]
