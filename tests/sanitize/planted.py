"""Secrets put into recorded requests, and looked for in every byte that was written."""

from __future__ import annotations

import copy
import json
import os
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests import recorded
from tests.conftest import Stack
from tests.sanitize import samples

GLUED = re.compile(r"^(?:ghp_|github_pat_|glpat-|AKIA|sk-ant-|xox[bp]-|npm_|pypi-|AIza|hvs\.)")
"""Secrets that are known by their beginning even in the middle of a word."""


def secrets() -> list[tuple[str, str]]:
    """Name and form of those that can be told wherever they stand, and hold no blank."""
    return [
        (entry["name"], entry["form"])
        for entry in samples.corpus("secrets")
        if entry["alone"] and "part" not in entry and not re.search(r"\\n|\\r| ", entry["form"])
    ]


def requests() -> list[recorded.Recorded]:
    """Recorded logs and metrics of every version of the client."""
    return [each for signal in ("logs", "metrics") for each in recorded.requests(signal)]


def _strings(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all strings in a request, keys of attributes among them, but for times and ids."""
    if isinstance(node, dict):
        for key, value in node.items():
            if not re.search("UnixNano$|^intValue$|^traceId$|^spanId$", key):
                yield from _strings(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _strings(value, (*path, number))
    elif isinstance(node, str):
        yield path


def plant(body: dict[str, Any], secret: str, chance: random.Random) -> dict[str, Any]:
    """A copy with the secret at a random place: instead of a text, or within one."""
    planted = copy.deepcopy(body)
    path = chance.choice(list(_strings(planted)))
    node: Any = planted
    for step in path[:-1]:
        node = node[step]
    old = str(node[path[-1]])
    node[path[-1]] = _within(old, secret, chance)
    if path[-1] == "stringValue" and chance.random() < 0.3:
        text = node.pop("stringValue")
        node.update(_otherwise(text, chance))
    return planted


def _within(old: str, secret: str, chance: random.Random) -> str:
    how = chance.choice(["instead", "before", "behind", "glued", "json"])
    if how == "before":
        return f"{secret} {old}"
    if how == "behind":
        return f"{old} {secret}"
    if how == "glued" and GLUED.match(secret):
        place = chance.randrange(len(old) + 1)
        return f"{old[:place]}{secret}{old[place:]}"
    if how == "json":
        return json.dumps({"text": old, "deep": json.dumps({"value": secret})})
    return secret


def _otherwise(text: str, chance: random.Random) -> dict[str, Any]:
    """The same text as another type of OTLP's."""
    value = {"stringValue": text}
    return chance.choice(
        [
            {"arrayValue": {"values": [{"intValue": "1"}, value]}},
            {"kvlistValue": {"values": [{"key": "inner", "value": value}]}},
            {"kvlistValue": {"values": [{"key": text, "value": {"boolValue": True}}]}},
            {"arrayValue": {"values": [{"arrayValue": {"values": [value]}}]}},
        ]
    )


def pieces(secret: str) -> Iterator[bytes]:
    """What gives a secret away."""
    middle = len(secret) // 2
    for piece in (secret, secret[-12:], secret[middle - 6 : middle + 6]):
        yield piece.encode()


def in_files(folder: Path, planted: Iterable[str]) -> list[str]:
    """Files of a folder in which any of these secrets stands."""
    return _among(_files(folder), planted)


def in_rows(stack: Stack, planted: Iterable[str]) -> list[str]:
    """Tables in which one stands."""
    return _among(_rows(stack), planted)


def _among(texts: Iterable[tuple[str, bytes]], planted: Iterable[str]) -> list[str]:
    wanted = {piece: secret for secret in planted for piece in pieces(secret)}
    any_of = re.compile(b"|".join(re.escape(piece) for piece in wanted))
    matches = ((place, any_of.search(text)) for place, text in texts)
    return [f"{place}: {wanted[match[0]]}" for place, match in matches if match]


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path, _, names in os.walk(folder):  # folders that are merged away meanwhile are no error
        for name in names:
            file = Path(path, name)
            try:
                if file.is_file():
                    yield str(file), file.read_bytes()
            except FileNotFoundError:
                continue


def _rows(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Everything in every table: on disk it is compressed."""
    tables = stack.admin(
        "SELECT database, name FROM system.tables WHERE (database = 'telemetry' AND engine NOT IN "
        "('Null', 'View', 'MaterializedView') AND name NOT LIKE '.tmp%') "
        "OR (database = 'system' AND name LIKE '%_log')"
    )
    for database, table in tables:
        for (text,) in stack.admin(f"SELECT toJSONString(tuple(*)) FROM {database}.`{table}`"):
            yield f"{database}.{table}", str(text).encode()
