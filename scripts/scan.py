"""`telemetry scan`: is there anything among the stored rows that should have been cut out?

Every text that is stored is looked at twice: by the rules that hold now, which may have grown since
it was stored, and by a detector that knows nothing of them. What is found is told by place and
class, never by value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detect_secrets.core.scan import scan_line
from detect_secrets.settings import transient_settings

from infra.collector.rules.apply import Cutter
from infra.secrets import Secrets
from infra.settings import Settings
from infra.warehouse import names
from scripts import warehouse
from scripts.console import Step

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


@dataclass(frozen=True)
class Text:
    """A text that is stored, and where."""

    where: str
    """table.column, or table.extra[attribute]"""
    value: str
    rows: int
    first: str
    last: str
    """Days, UTC."""


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
    hits: tuple[Hit, ...]


def scan(settings: Settings, secrets: Secrets, shown: Step) -> Scan:
    """Look at all that is stored."""
    client = warehouse.as_admin(settings, secrets, seconds=600)
    cut = Cutter(settings.sanitize.all_patterns)
    hits: dict[tuple[str, str, str], list[Text]] = {}
    texts = 0
    plugins = {"plugins_used": [{"name": name} for name in _DETECTORS]}
    try:
        rows = sum(_count(client, table) for table in names.OWN_EVENTS)
        with transient_settings(plugins):
            for text in _texts(client):
                texts += 1
                if texts % 1000 == 0:
                    shown.update(f"{texts:,} texts")
                for what in cut(text.value).found:
                    hits.setdefault((text.where, what, "rules"), []).append(text)
                for what in _detected(text.value):
                    hits.setdefault((text.where, what, "detect-secrets"), []).append(text)
    finally:
        client.close_connections()
    return Scan(texts, rows, tuple(_hit(*key, found) for key, found in sorted(hits.items())))


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


def _detected(text: str) -> set[str]:
    return {found.type for line in text.splitlines() for found in scan_line(line)}


def _count(client: Client, table: str) -> int:
    return int(str(client.command(f"SELECT count() FROM {names.DATABASE}.{table}")))


def _texts(client: Client) -> Iterator[Text]:
    """Every text once, but for ids of the client's own form."""
    for table, source in warehouse.text_columns(client, names.OWN_EVENTS):
        sql = (
            "SELECT place, value, count(), toString(min(day)), toString(max(day)) "
            f"FROM ({source}) WHERE NOT match(value, {{id:String}}) GROUP BY place, value"
        )
        with client.query_rows_stream(sql, parameters={"id": _ID}) as stream:
            for place, value, rows, first, last in stream:
                yield Text(f"{table}.{place}", value, int(rows), first, last)
