"""The numbered schema files: what there is, what a database still lacks, and the retention on top.

A file is applied once and never edited afterwards; a change is a new file. Every statement can be
run again, so a file that was interrupted is simply applied from its start. Who executes: the CLI on
`embedded`, `runner.sh` in a container elsewhere; both follow what is written here, and a test holds
them to each other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.settings import Settings
from infra.warehouse import names, prices

DDL = Path(__file__).parent / "ddl"
RUNNER = Path(__file__).parent / "runner.sh"

_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")

BOOTSTRAP = (
    f"CREATE DATABASE IF NOT EXISTS {names.DATABASE}",
    f"CREATE TABLE IF NOT EXISTS {names.DATABASE}.{names.MIGRATIONS} ("
    "name String COMMENT 'Schema file', "
    "checksum String COMMENT 'SHA-256 of the file', "
    "applied_at DateTime64(3, 'UTC') DEFAULT now64(3)"
    ") ENGINE = ReplacingMergeTree ORDER BY name",
)
"""Run before everything else, every time."""

LANDING_TABLES = (
    f"SELECT name FROM system.tables WHERE database = '{names.DATABASE}' AND engine = 'Null'"
)
CLOSED = "closed UInt8 DEFAULT throwIf(rand() >= 0, 'the schema is being brought up to date')"
"""A column that no insert names and whose default fails. While files are applied, landing tables
have it: what is inserted into one that has no view yet, or while its rows are moved, would be gone;
so it is refused, and the collector keeps it in its queue and tries again."""
INSERTS = f"SELECT count() FROM system.processes WHERE user = '{names.INGEST_USER}'"
"""Those that began before the tables were closed."""


def closing(table: str) -> str:
    """The statement that makes a landing table refuse rows."""
    return f"ALTER TABLE {names.DATABASE}.{table} ADD COLUMN IF NOT EXISTS {CLOSED}"


def opening(table: str) -> str:
    """The statement that makes it take rows (again)."""
    return f"ALTER TABLE {names.DATABASE}.{table} DROP COLUMN IF EXISTS {CLOSED.split()[0]}"


def closed(statement: str) -> str:
    """A statement of a file; a landing table that it makes is closed from the first."""
    if not statement.endswith("ENGINE = Null"):
        return statement
    return statement.replace("\n(\n", f"\n(\n    {CLOSED},\n", 1)


class SchemaError(RuntimeError):
    """The schema files and the database disagree; the text says which file and what to do."""


@dataclass(frozen=True)
class Migration:
    """One numbered file."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 (hex) of the file's bytes."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def statements(self) -> tuple[str, ...]:
        """Its statements. One ends where a line ends in a semicolon, nowhere else."""
        parts = re.split(r";[ \t]*\n", self.text + "\n")
        return tuple(part.strip() for part in parts if _has_code(part))


def _has_code(part: str) -> bool:
    return any(line.strip() and not line.strip().startswith("--") for line in part.splitlines())


def migrations(folder: Path = DDL) -> tuple[Migration, ...]:
    """All files in order. Raises SchemaError on a name or a number that does not fit."""
    found = sorted(folder.glob("*.sql"))
    for number, path in enumerate(found, start=1):
        match = _NAME.match(path.name)
        if match is None or int(match[1]) != number:
            message = f"{path.name}: schema files are numbered 0001, 0002, ... without a gap"
            raise SchemaError(message)
    return tuple(Migration(path.name, path.read_text(encoding="utf-8")) for path in found)


def pending(files: Sequence[Migration], applied: Mapping[str, str]) -> tuple[Migration, ...]:
    """Files that a database still lacks, given what it recorded (name: checksum).

    Raises SchemaError for a file edited after it was applied, and for a database that knows files
    this version does not have (it was written by a newer one).
    """
    known = {file.name: file for file in files}
    for name in applied:
        if name not in known:
            message = (
                f"the database has {name}, which this version does not know: it was written by a "
                "newer version. Update this one."
            )
            raise SchemaError(message)
    for file in files:
        if applied.get(file.name, file.checksum) != file.checksum:
            message = (
                f"{file.name} was edited after it had been applied. Restore it "
                f"(`git checkout infra/warehouse/ddl/{file.name}`) and put the change in a "
                "new file."
            )
            raise SchemaError(message)
    return tuple(file for file in files if file.name not in applied)


@dataclass(frozen=True)
class TimeToLive:
    """How long a table keeps its rows."""

    table: str
    days: int

    @property
    def expression(self) -> str:
        """As ClickHouse itself writes it in `system.tables`."""
        return f"toDateTime(ts) + toIntervalDay({self.days})"

    @property
    def statement(self) -> str:
        """Sets it; needed only where `system.tables` shows another."""
        return f"ALTER TABLE {names.DATABASE}.{self.table} MODIFY TTL {self.expression}"


def retention(settings: Settings) -> tuple[TimeToLive, ...]:
    """Retention is a setting, so it is no numbered file: it is compared and set at every `up`."""
    return (
        TimeToLive(names.EVENTS, settings.retention.events_days),
        TimeToLive(names.METRIC_POINTS, settings.retention.metrics_days),
        TimeToLive(names.CONTENT, settings.retention.content_days),
    )


@dataclass(frozen=True)
class StandingView:
    """A view that holds settings or data instead of a question: written anew when they change.

    Its comment is the checksum of what it was made from, so a database tells whether it is current.
    """

    name: str
    select: str

    @property
    def checksum(self) -> str:
        """First 16 hex digits of the SHA-256 of the SELECT."""
        return hashlib.sha256(self.select.encode()).hexdigest()[:16]

    @property
    def statement(self) -> str:
        """Makes it, or replaces it."""
        return (
            f"CREATE OR REPLACE VIEW {names.DATABASE}.{self.name} AS {self.select} "
            f"COMMENT '{self.checksum}'"
        )


def standing_views(settings: Settings) -> tuple[StandingView, ...]:
    """What queries must know and no numbered file can: compared and set at every `up`."""
    days = settings.retention
    return (
        StandingView(
            names.RETENTION,
            # Of days whose events went sooner, because the store was full, none are there either.
            f"SELECT toUInt16(least({days.events_days}, (SELECT if(count() = 0, 65535, "
            f"greatest(dateDiff('day', max(last_day), today()), 1)) FROM {names.DATABASE}."
            f"{names.DELETIONS} WHERE why = 'limit'))) AS events_days, "
            f"{days.metrics_days} AS metrics_days, "
            f"{days.content_days} AS content_days",
        ),
        StandingView(
            names.COHORT_FLOOR, f"SELECT toUInt64({settings.privacy.cohort_floor}) AS members"
        ),
        StandingView(names.PRICES, prices.select()),
        StandingView(
            names.BUDGET, f"SELECT toDecimal64('{settings.budget.monthly_usd}', 2) AS monthly_usd"
        ),
    )


def views_table(settings: Settings) -> str:
    """The same for `runner.sh`: a line a view, name, checksum and statement, tab between."""
    return "".join(
        f"{view.name}\t{view.checksum}\t{view.statement}\n" for view in standing_views(settings)
    )


def retention_table(settings: Settings) -> str:
    """The same for `runner.sh`: a line a table, name and expression, tab between."""
    return "".join(f"{ttl.table}\t{ttl.expression}\n" for ttl in retention(settings))
