"""`telemetry verify --canary`: does anything that must not be stored get stored?

A made-up secret of each class goes through the running collector, in every kind of place a text can
stand in, and is then looked for in all that is stored: the rows, and the files written meanwhile.
The records are synthetic: no report counts them, and they are removed again.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import string
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.collector import rules
from infra.settings import Settings
from infra.warehouse import names
from scripts import files, member, otlp, verify, warehouse
from scripts.errors import Failure
from stacks.home import Home, write_private

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

EVENT = "canary"
_TEXTS = ("result", "error", "skill.name", "unheard_of")
"""Kept at every level, a fingerprint, a name, and what nobody listed; texts come besides."""
_RESOURCE = ("chapter", "host.name", "user.email", "unheard_of")
_POINT = ("skill.name", "model", "unheard_of")
_PLACE = re.compile(r"<([nlUdh])(\d+)>")
_ALPHABETS = {
    "n": string.ascii_letters + string.digits,
    "l": string.ascii_lowercase,
    "U": string.ascii_uppercase + string.digits,
    "d": string.digits,
    "h": "0123456789abcdef",
}
_ENOUGH = 8
"""Characters of a secret that give it away."""
_CHUNK = 4 * 1024 * 1024
_DISTINCT_SECONDS = 2.0
"""Files last written so long before the run began are not looked through."""


@dataclass(frozen=True)
class Plant:
    """A text with a made-up secret in it."""

    name: str
    """Its class."""
    text: str
    marks: tuple[str, ...]
    """Pieces of it that must be nowhere afterwards."""


@dataclass(frozen=True)
class Leak:
    """A made-up secret that was found."""

    name: str
    """Its class."""
    where: str


@dataclass(frozen=True)
class Verdict:
    """What a canary found."""

    at: str
    """UTC."""
    planted: int
    rows: int
    files: int
    leaks: tuple[Leak, ...]

    @property
    def well(self) -> bool:
        """Whether nothing was found."""
        return not self.leaks

    @property
    def said(self) -> str:
        """The verdict in words. Never what was found."""
        if self.well:
            return (
                f"{self.planted} made-up secrets, one of each class, went in; none is in the "
                f"{self.rows} rows or the {self.files} files that were written."
            )
        lines = [f"{leak.name}: in {leak.where}" for leak in self.leaks]
        return (
            "Something that must not be stored was stored. `telemetry pause` stops the collector; "
            "then report this:\n  " + "\n  ".join(lines)
        )


def planted(pattern: rules.Pattern, chance: random.Random) -> Plant:
    """Its `plant`, filled in. A team's pattern plants its first example as it is."""
    filled: list[tuple[int, int]] = []
    text = ""
    end = 0
    for place in _PLACE.finditer(pattern.plant):
        text += pattern.plant[end : place.start()]
        piece = "".join(chance.choices(_ALPHABETS[place[1]], k=int(place[2])))
        filled.append((len(text), len(text) + len(piece)))
        text += piece
        end = place.end()
    text += pattern.plant[end:]
    if not filled:
        return Plant(pattern.name, text, (text,))
    whole = text[filled[0][0] : filled[-1][1]]
    pieces = [text[begin:stop] for begin, stop in filled if stop - begin >= _ENOUGH]
    halves = [half for piece in pieces for half in (piece[:_ENOUGH], piece[-_ENOUGH:])]
    return Plant(pattern.name, text, tuple(dict.fromkeys((whole, *halves))))


def canary(settings: Settings, home: Home) -> Verdict:
    """Plant, look, remove, and note what was found. Raises Failure when nothing arrives."""
    run = f"canary-{uuid.uuid4().hex[:12]}"
    chance = random.Random(run)
    patterns = settings.sanitize.all_patterns
    plants = [planted(pattern, chance) for pattern in patterns]
    began = time.time()
    client = warehouse.as_admin(settings, home.secrets())
    try:
        _send(settings, plants, run, member.own_authorization(settings, home))
        _wait(client, settings, len(plants), run)
        rows = list(_rows(client, run))
        written = list(_written(home, began))
        leaks = [*_in_rows(rows, plants), *_in_files(written, plants)]
    finally:
        verify.remove(client, run)
        client.close_connections()
    verdict = Verdict(
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        planted=len(plants),
        rows=len(rows),
        files=len(written),
        leaks=tuple(leaks),
    )
    write_private(_note(home), json.dumps(asdict(verdict)))
    return verdict


def last(home: Home) -> Verdict | None:
    """What the last canary found; None where there was none."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        noted = json.loads(_note(home).read_text(encoding="utf-8"))
        return Verdict(**{**noted, "leaks": tuple(Leak(**each) for each in noted["leaks"])})
    return None


def _note(home: Home) -> Path:
    return home.run / "canary.json"


def _value(text: str) -> dict[str, Any]:
    return {"stringValue": text}


def _pairs(keys: Iterable[str], text: str) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(text)} for key in keys]


def _send(settings: Settings, plants: Sequence[Plant], run: str, authorization: str) -> None:
    texts = (*_TEXTS, *(each.name for each in rules.content("full")))
    now = str(time.time_ns())
    mark = {"key": otlp.SYNTHETIC, "value": _value(run)}
    logs, metrics = [], []
    for number, plant in enumerate(plants):
        resource = {"attributes": _pairs(_RESOURCE, plant.text)}
        record = {
            "timeUnixNano": now,
            "body": _value(plant.text),
            "severityText": plant.text,
            "attributes": [
                {"key": "event.name", "value": _value(EVENT)},
                {"key": "session.id", "value": _value(run)},
                {"key": "event.sequence", "value": {"intValue": str(number)}},
                mark,
                *_pairs(texts, plant.text),
            ],
        }
        scope = {"name": plant.text, "attributes": _pairs(("unheard_of",), plant.text)}
        logs.append({"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": [record]}]})
        point = {
            "timeUnixNano": now,
            "startTimeUnixNano": now,
            "asDouble": number,
            "attributes": [mark, *_pairs(_POINT, plant.text)],
        }
        metric = {
            "name": f"telemetry.{EVENT}",
            "description": plant.text,
            "sum": {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": [point]},
        }
        metrics.append(
            {"resource": resource, "scopeMetrics": [{"scope": scope, "metrics": [metric]}]}
        )
    endpoint = f"http://127.0.0.1:{settings.ports.otlp_http}"
    otlp.send(endpoint, otlp.Request("logs", {"resourceLogs": logs}), authorization)
    if settings.backend != "prometheus":
        otlp.send(endpoint, otlp.Request("metrics", {"resourceMetrics": metrics}), authorization)


def _wait(client: Client, settings: Settings, count: int, run: str) -> None:
    points = 0 if settings.backend == "prometheus" else count
    if not verify.arrived(client, run, events=count, points=points):
        raise Failure(
            f"The canary's records did not arrive within {verify.TIMEOUT_SECONDS} s, so nothing is "
            "known. `telemetry status` says what is wrong."
        )


def _rows(client: Client, run: str) -> Iterator[tuple[str, str]]:
    """Table, and everything in a row as text."""
    for table in names.OWN_EVENTS:
        found = client.query(
            f"SELECT toJSONString(tuple(*)) FROM {names.DATABASE}.{table} "
            "WHERE synthetic = {run:String}",
            parameters={"run": run},
        )
        for (text,) in found.result_rows:
            yield table, str(text)


def _in_rows(rows: Iterable[tuple[str, str]], plants: Sequence[Plant]) -> Iterator[Leak]:
    seen = set()
    for table, text in rows:
        for plant in plants:
            if any(mark in text for mark in plant.marks) and (plant.name, table) not in seen:
                seen.add((plant.name, table))
                yield Leak(plant.name, f"rows of {table}")


def _written(home: Home, since: float) -> Iterator[Path]:
    """Files of the state folder that changed during the run."""
    for folder in (home.queue, home.log, home.data, home.run):
        for file, found in files.below(folder):
            if found.st_mtime >= since - _DISTINCT_SECONDS:
                yield file


def _in_files(files: Iterable[Path], plants: Sequence[Plant]) -> Iterator[Leak]:
    marks = [(plant.name, mark.encode()) for plant in plants for mark in plant.marks]
    overlap = max(len(mark) for _, mark in marks)
    for file in files:
        found = set()
        with contextlib.suppress(OSError), file.open("rb") as stream:
            rest = b""
            while chunk := stream.read(_CHUNK):
                block = rest + chunk
                found |= {name for name, mark in marks if mark in block}
                rest = block[-overlap:]
        yield from (Leak(name, str(file)) for name in sorted(found))
