"""`telemetry cleanup`: archive what will soon be too old, and delete what is.

ClickHouse drops old rows by itself, some hours after their time; files on the side and labels it
does not know. This does at once what is due, says first what that is, and can keep a copy.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.collector.store import ASIDE_DAYS, SHARED_ASIDE_DAYS
from infra.settings import Settings
from infra.warehouse import names
from scripts import kept, parquet, warehouse
from scripts.console import step
from scripts.errors import Failure
from stacks import copies
from stacks.home import PROJECT, Home, write_private

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

AHEAD_DAYS = 7
"""Days that go within so many are archived too: ClickHouse does not wait for an archive."""
_ROTATE_DAYS = 30
"""A file of records set aside is closed after so long, so that none gets older than ASIDE_DAYS."""
_LABELS_WITHOUT_EVENTS = (
    "labelled_at < now() - toIntervalDay({days:UInt32}) AND (member, session_id) NOT IN "
    f"(SELECT member, session_id FROM {names.DATABASE}.{names.EVENTS})"
)


@dataclass(frozen=True, kw_only=True)
class Due:
    """Something that is older than it may be."""

    what: str
    """As the retention report calls it; or a kind of file."""
    where: str
    """Table or file."""
    rows: int | None
    """None for a file."""
    bytes: int | None
    """None for rows."""
    first_day: str
    last_day: str
    """UTC, of what would go."""


@dataclass(frozen=True, kw_only=True)
class Archived:
    """One file of an archive."""

    table: str
    day: str
    """UTC, of the rows."""
    file: str
    """Relative to the archive."""
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Cleanup:
    """What is due, and what was done about it."""

    due: tuple[Due, ...]
    archived: tuple[Archived, ...] = ()
    deleted: bool = False
    unseen: str = ""
    """What could not be looked at."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class _Class:
    """Rows with a time of their own."""

    table: str
    keep_days: int

    @property
    def what(self) -> str:
        """As the retention report calls it."""
        return names.CLASSES[self.table]

    def before(self, today: date) -> date:
        """Days older than this are too old."""
        return today - timedelta(days=self.keep_days)


def _classes(settings: Settings) -> tuple[_Class, ...]:
    days = settings.retention
    return (
        _Class(names.EVENTS, days.events_days),
        _Class(names.METRIC_POINTS, days.metrics_days),
        _Class(names.CONTENT, days.content_days),
    )


@dataclass
class Cleaner:
    """Of one stack; `today` in UTC."""

    settings: Settings
    home: Home
    client: Client
    places: Sequence[kept.Place] = ()
    """Where files beside the database are."""
    today: date = field(default_factory=lambda: datetime.now(UTC).date())

    def due(self) -> tuple[Due, ...]:
        """All that is too old. Changes nothing."""
        return (*self._rows(), *self._labels(), *(_file(file) for _, file in self._files()))

    def _ask(self, sql: str, **parameters: Any) -> Sequence[Sequence[Any]]:
        return self.client.query(sql, parameters=parameters).result_rows

    def _rows(self) -> Iterator[Due]:
        for each in _classes(self.settings):
            [(rows, first, last)] = self._ask(
                "SELECT count(), toString(min(toDate(ts))), toString(max(toDate(ts))) "
                f"FROM {names.DATABASE}.{each.table} WHERE toDate(ts) < {{before:Date}}",
                before=each.before(self.today),
            )
            if rows:
                yield Due(
                    what=each.what,
                    where=each.table,
                    rows=int(rows),
                    bytes=None,
                    first_day=first,
                    last_day=last,
                )

    def _labels(self) -> Iterator[Due]:
        [(rows, first, last)] = self._ask(
            "SELECT count(), toString(min(toDate(labelled_at))), "
            f"toString(max(toDate(labelled_at))) FROM {names.DATABASE}.{names.SESSION_LABELS} "
            f"WHERE {_LABELS_WITHOUT_EVENTS}",
            days=self.settings.retention.events_days,
        )
        if rows:
            yield Due(
                what=names.CLASSES[names.SESSION_LABELS],
                where=names.SESSION_LABELS,
                rows=int(rows),
                bytes=None,
                first_day=first,
                last_day=last,
            )

    def _files(self) -> Iterator[tuple[kept.Place, kept.File]]:
        """Files that are too old."""
        for place in self.places:
            for file in place.files():
                days = ASIDE_DAYS - _ROTATE_DAYS
                if file.damaged:
                    days = self.settings.retention.events_days
                if not file.is_open and file.day < self.today - timedelta(days=days):
                    yield place, file

    # --- archive

    def to_archive(self) -> dict[tuple[str, str], int]:
        """Rows by table and day, of days that are too old or soon will be; no self-tests."""
        return {
            (each.table, day): int(rows)
            for each in _classes(self.settings)
            for day, rows in self._ask(
                f"SELECT toString(toDate(ts)) AS day, count() FROM {names.DATABASE}.{each.table} "
                "FINAL WHERE toDate(ts) < {before:Date} AND synthetic = '' GROUP BY day "
                "ORDER BY day",
                before=each.before(self.today) + timedelta(days=AHEAD_DAYS),
            )
        }

    def archive(self, folder: Path, told: Callable[[str], None]) -> tuple[Archived, ...]:
        """Write those days; what is in the archive already, whole, stays. Raises Failure."""
        folder = folder.expanduser().resolve()
        if folder == PROJECT or PROJECT in folder.parents:
            raise Failure(f"{folder} lies in the clone; archives do not belong there.")
        there = read_manifest(folder)
        written: list[Archived] = []
        wanted = self.to_archive()
        for number, ((table, day), rows) in enumerate(wanted.items(), start=1):
            told(f"{table} {day}, {number} of {len(wanted)}")
            mine = [each for each in there if (each.table, each.day) == (table, day)]
            # Rows that go while others come would make the same count; identities do not change,
            # so a second file beside the first loses nothing and doubles nothing.
            if sum(each.rows for each in mine) >= rows:
                continue
            for each in self._archived(folder, table, day, beside=len(mine)):
                written.append(each)
                _write_manifest(folder, [*there, *written])
                # A deletion on request must find it.
                known = copies.Copy("archive", str(folder), datetime.now(UTC))
                copies.replace(self.home, "archive", str(folder), [known])
        return tuple(written)

    def _archived(self, folder: Path, table: str, day: str, *, beside: int) -> Iterator[Archived]:
        """Write the rows of a day, beside so many files of that day."""
        where, given = "toDate(ts) = {day:Date} AND synthetic = ''", {"day": day}
        selects = parquet.selects(self.client, table, where, given, final=True)
        for number, select in enumerate(selects, start=beside + 1):
            file = Path(table) / f"{day}{f'-{number}' if number > 1 else ''}.parquet"
            made = parquet.export(self.client, select, folder / file, given)
            if parquet.sha256(folder / file) != made.sha256:
                raise Failure(f"{folder / file} does not read as it was written: check that disk.")
            yield Archived(
                table=table,
                day=day,
                file=str(file),
                rows=made.rows,
                bytes=made.bytes,
                sha256=made.sha256,
            )

    # --- delete

    def delete(self, due: Sequence[Due]) -> None:
        """Delete what is due, and note in the database what that was."""
        classes = {each.table: each for each in _classes(self.settings)}
        for each in due:
            if each.where in classes:
                condition = "toDate(ts) < {before:Date}"
                given: dict[str, Any] = {"before": classes[each.where].before(self.today)}
            elif each.where == names.SESSION_LABELS:
                condition = _LABELS_WITHOUT_EVENTS
                given = {"days": self.settings.retention.events_days}
            else:
                continue
            self.client.command(
                f"ALTER TABLE {names.DATABASE}.{each.where} DELETE WHERE {condition}",
                parameters=given,
                settings={"mutations_sync": 2},
            )
        for place, file in list(self._files()):
            place.delete(file)
        note_deletions(self.client, "retention", due)

    def close_aside(self) -> None:
        """Close files of records set aside where it is time, so that they get old. The collector
        is stopped for that moment: a closed port costs Claude Code nothing."""
        month_ago = self.today - timedelta(days=_ROTATE_DAYS)
        for place in self.places:
            files = [each for each in place.files() if not each.damaged]
            closed_lately = any(not each.is_open and each.day > month_ago for each in files)
            for file in files:
                if file.is_open and file.bytes and not closed_lately:
                    stamp = time.strftime("%Y-%m-%dT%H-%M-%S.000", time.gmtime())
                    with place.still():  # the name is one as the collector itself gives
                        place.rename(file, f"aside-{stamp}.jsonl")


def _file(file: kept.File) -> Due:
    day = file.day.isoformat()
    return Due(
        what="damaged queue files" if file.damaged else "records set aside",
        where=file.shown,
        rows=None,
        bytes=file.bytes,
        first_day=day,
        last_day=day,
    )


def note_deletions(client: Client, why: str, due: Sequence[Due]) -> None:
    """For the next retention report. `why`: retention, purge or limit."""
    rows = [
        [why, each.what, each.rows, _date(each.first_day), _date(each.last_day)]
        for each in due
        if each.rows is not None
    ]
    if rows:
        client.insert(
            names.DELETIONS,
            rows,
            column_names=["why", "class", "rows", "first_day", "last_day"],
            database=names.DATABASE,
        )


def _date(day: str) -> date:
    return date.fromisoformat(day)


MANIFEST = "manifest.json"
"""Of an archive: its files."""


def read_manifest(folder: Path) -> list[Archived]:
    """What an archive holds. Raises Failure where that cannot be read."""
    file = folder / MANIFEST
    if not file.exists():
        return []
    try:
        return [Archived(**each) for each in json.loads(file.read_text(encoding="utf-8"))["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{file} is no list of an archive: {error}") from None


def _write_manifest(folder: Path, files: Sequence[Archived]) -> None:
    data = {"format": 1, "files": [asdict(each) for each in files]}
    write_private(folder / MANIFEST, json.dumps(data, indent=1) + "\n")


def replace_in_manifest(folder: Path, old: Archived, made: parquet.Written) -> None:
    """A file of an archive was written anew; with no rows left, it goes."""
    files = [each for each in read_manifest(folder) if each.file != old.file]
    if made.rows:
        new = replace(old, rows=made.rows, bytes=made.bytes, sha256=made.sha256)
        files = sorted([*files, new], key=lambda each: (each.table, each.day, each.file))
    else:
        (folder / old.file).unlink()
    _write_manifest(folder, files)


def cleanup(
    settings: Settings,
    home: Home,
    *,
    archive: Path | None,
    dry_run: bool,
    agreed: Callable[[tuple[Due, ...]], bool],
) -> Cleanup:
    """Archive (where a folder is named), then delete if that is agreed to. Raises Failure."""
    client = warehouse.as_admin(settings, home.secrets(), seconds=3600)
    unseen = ""
    try:
        cleaner = Cleaner(settings, home, client)
        try:
            cleaner.places = kept.places(settings, home) if home.here else ()
            if not home.here:
                unseen = (
                    "Records that the collector set aside on the endpoint's machine are out of "
                    f"reach from here: they go by themselves after {SHARED_ASIDE_DAYS} days."
                )
        except Failure as error:
            unseen = str(error)
        due = cleaner.due()
        if dry_run:
            return Cleanup(due=due, unseen=unseen)
        archived: tuple[Archived, ...] = ()
        if archive is not None:
            with step(f"Archiving to {archive}") as shown:
                archived = cleaner.archive(archive, shown.update)
        if not agreed(due):
            return Cleanup(due=due, archived=archived, unseen=unseen)
        if due:
            with step("Deleting"):
                cleaner.delete(due)
                warehouse.refresh(client)
        cleaner.close_aside()
        home.cleaned.write_bytes(b"")
        return Cleanup(due=due, archived=archived, deleted=True, unseen=unseen)
    finally:
        client.close_connections()


def is_due(home: Home) -> bool:
    """Whether the last one is a week old; there is none to be done before there is anything."""
    if not home.secrets_folder.exists():
        return False
    mark = home.cleaned
    if not mark.exists():
        return True
    last = datetime.fromtimestamp(mark.stat().st_mtime, UTC).date()
    return last <= datetime.now(UTC).date() - timedelta(days=7)


def lines(found: Cleanup) -> list[str]:
    """For people."""
    told = [
        f"{each.what}: "
        + (f"{each.rows:,} rows" if each.rows is not None else f"{each.where}, {each.bytes} bytes")
        + (
            f" of {each.first_day}"
            if each.first_day == each.last_day
            else f" of {each.first_day} to {each.last_day}"
        )
        for each in found.due
    ]
    return told or ["Nothing is older than it may be."]
