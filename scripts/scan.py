"""`telemetry scan`: is there anything among the stored rows that should have been cut out?

Every text that is stored is looked at twice: by the rules that hold now, which may have grown since
it was stored, and by a detector that knows nothing of them. Looked at are values, names of
attributes, and the records set aside. What is found is told by place and class, never by value.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, starmap
from typing import TYPE_CHECKING, Any

from detect_secrets.core.scan import scan_line
from detect_secrets.settings import transient_settings

from infra.collector.rules.apply import Cutter
from infra.settings import Settings
from infra.warehouse import names
from scripts import kept, warehouse
from scripts.console import Step
from stacks.home import Home

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_DETECTORS = (
    # Those that know a form. Randomness alone tells nothing here: every row holds random ids.
    "ArtifactoryDetector",
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "BasicAuthDetector",
    "DiscordBotTokenDetector",
    "GitHubTokenDetector",
    "GitLabTokenDetector",
    "JwtTokenDetector",
    "KeywordDetector",
    "MailchimpDetector",
    "NpmDetector",
    "OpenAIDetector",
    "PrivateKeyDetector",
    "PypiTokenDetector",
    "SendGridDetector",
    "SlackDetector",
    "SquareOAuthDetector",
    "StripeDetector",
    "TelegramBotTokenDetector",
    "TwilioKeyDetector",
)
_ID = (
    "^(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{64}|p1:[0-9a-f]{64}"
    "|(?:req|toolu|srvtoolu|msg)_[A-Za-z0-9_]{1,48}|[0-9]{0,12}|true|false)$"
)
"""What need not be looked at: ids of the client's own form, small numbers, nothing."""
_NAME = re.compile("[a-z]{1,24}[0-9]{0,4}(?:[_.][a-z]{1,24}[0-9]{0,4}){0,7}")
"""Of an attribute, which may be told. Any other might be someone's text."""


@dataclass(frozen=True)
class Text:
    """A text that is stored, and where."""

    where: str
    """table.column, table.extra[attribute], or a file. Not to be shown as it is: see `told`."""
    value: str
    rows: int
    first: str
    last: str
    """Days, UTC. Of a record set aside: when its file was last written to."""


@dataclass(frozen=True)
class Hit:
    """Texts in one place in which the same was found."""

    where: str
    what: str
    found_by: str
    """rules or detect-secrets"""
    texts: int
    rows: int
    first: str
    last: str


@dataclass(frozen=True)
class Scan:
    """What was looked at and what was found."""

    texts: int
    rows: int
    set_aside: int
    """Records in files on the side."""
    hits: tuple[Hit, ...]


class _Eyes:
    """Both detectors. A text gives what was found in it and by whom."""

    def __init__(self, settings: Settings) -> None:
        self._cut = Cutter(settings.sanitize.all_patterns)

    def __call__(self, text: str) -> Iterator[tuple[str, str]]:
        for what in self._cut(text).found:
            yield what, "rules"
        for what in {found.type for line in text.splitlines() for found in scan_line(line)}:
            yield what, "detect-secrets"

    def told(self, place: str) -> str:
        """A place without a name that may be someone's text."""
        column, bracket, name = place.partition("[")
        name = name.removesuffix("]")
        if not bracket or (_NAME.fullmatch(name) and not any(self(name))):
            return place
        return f"{column}[(odd name)]"


def scan(settings: Settings, home: Home, shown: Step) -> Scan:
    """Look at all that is stored. Raises Failure where ClickHouse does not answer."""
    client = warehouse.as_admin(settings, home.secrets(), seconds=600)
    eyes = _Eyes(settings)
    files = kept.set_aside(settings, home)
    hits: dict[tuple[str, str, str], list[Text]] = {}
    texts = 0
    plugins = {"plugins_used": [{"name": name} for name in _DETECTORS]}
    try:
        rows = sum(_count(client, table) for table in names.OWN_EVENTS)
        with transient_settings(plugins):
            for text in chain(_texts(client), *starmap(_of_file, files)):
                texts += 1
                if texts % 1000 == 0:
                    shown.update(f"{texts:,} texts")
                for what, found_by in eyes(text.value):
                    hits.setdefault((eyes.told(text.where), what, found_by), []).append(text)
    finally:
        client.close_connections()
    return Scan(
        texts,
        rows,
        sum(1 for place, file in files for _ in place.lines(file)),
        tuple(_hit(*key, found) for key, found in sorted(hits.items())),
    )


def _hit(where: str, what: str, found_by: str, texts: Sequence[Text]) -> Hit:
    return Hit(
        where,
        what,
        found_by,
        len(texts),
        sum(text.rows for text in texts),
        min(text.first for text in texts),
        max(text.last for text in texts),
    )


def _count(client: Client, table: str) -> int:
    return int(str(client.command(f"SELECT count() FROM {names.DATABASE}.{table}")))


def _texts(client: Client) -> Iterator[Text]:
    """Every text once, but for ids of the client's own form; names of attributes among them."""
    for table, source in warehouse.text_columns(client, names.OWN_EVENTS):
        told = "count(), toString(min(day)), toString(max(day))"
        sql = f"SELECT place, {told} FROM ({source}) WHERE place LIKE '%[%' GROUP BY place"
        for place, rows, first, last in client.query(sql).result_rows:
            column, _, name = place.partition("[")
            where = f"{table}.{column} (name of an attribute)"
            yield Text(where, name.removesuffix("]"), int(rows), first, last)
        sql = (
            f"SELECT place, value, {told} "
            f"FROM ({source}) WHERE NOT match(value, {{id:String}}) GROUP BY place, value"
        )
        with client.query_rows_stream(sql, parameters={"id": _ID}) as stream:
            for place, value, rows, first, last in stream:
                yield Text(f"{table}.{place}", value, int(rows), first, last)


def _of_file(place: kept.Place, file: kept.File) -> Iterator[Text]:
    """The same of records set aside, which are JSON. A line that is none is one text."""
    day, name = file.day.isoformat(), file.name.rpartition("/")[2]
    found: Counter[str] = Counter()
    for line in place.lines(file):
        text = line.decode(errors="replace")
        try:
            found.update(set(_strings(json.loads(text))))
        except (ValueError, RecursionError):
            found[text] += 1
    for value, records in found.items():
        if not re.match(_ID, value):
            yield Text(f"{name} (set aside)", value, records, day, day)


def _strings(value: Any) -> Iterator[str]:
    """Every string in JSON, keys too, but for times: any number may be one."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if not key.endswith("UnixNano"):
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
