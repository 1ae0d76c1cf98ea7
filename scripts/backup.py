"""`telemetry backup`: what is stored, into a folder or a bucket.

A day that has not changed since the last backup there is not written again. The rows are asked of
ClickHouse over HTTP while events go on arriving; what had been stored when it began is in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.settings import Settings
from infra.warehouse import migrations, names
from scripts import parquet, warehouse
from scripts.console import step
from scripts.errors import Failure, Misuse
from scripts.repository import Entry, Key, Lies, Manifest, Object, Repository, place
from stacks import copies
from stacks.copies import Copy
from stacks.home import Home, write_private

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

KEY = "backup-key"
_PATIENCE_SECONDS = 3600
"""ClickHouse says nothing while it counts a day."""
_WORK = "backup-"


@dataclass(frozen=True)
class Report:
    """What was backed up."""

    place: str
    manifest: str
    made_at: str
    """UTC: what had been stored by then is in it."""
    newest_event: str
    """UTC; empty where there is none."""
    rows: int
    days: int
    written_rows: int
    """Of them, those of days that were not there yet, or had changed."""
    written_bytes: int
    bytes: int
    """Of all that the backup is made of."""
    encrypted: bool
    made_key: bool
    """The key was made just now: it must be copied elsewhere."""
    removed_backups: int
    """Lapsed."""
    lapses_at: str
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @property
    def said(self) -> str:
        """In words."""
        newest = f"newest event {self.newest_event} UTC" if self.newest_event else "no event yet"
        lapsed = f" {self.removed_backups} older one(s) lapsed." if self.removed_backups else ""
        return (
            f"Backed up {self.rows:,} rows of {self.days} days to {self.place} in "
            f"{self.seconds:.1f} s: {newest}. Written: {self.written_rows:,} rows, "
            f"{self.written_bytes / 1024**2:.1f} MiB; the rest was there. It lapses on "
            f"{self.lapses_at[:10]}.{lapsed}"
        )


def destination(settings: Settings, home: Home, to: str) -> str:
    """Where a backup goes: as asked, else by the settings, else in the state folder."""
    return to or settings.backup.to or home.backup_place


@contextlib.contextmanager
def opened(home: Home, to: str, key: Key | None) -> Iterator[Repository]:
    """The backups in a place, for nobody else of this machine meanwhile. Raises Failure."""
    home.prepare()
    with _alone(home):
        for left in home.run.glob(f"{_WORK}*"):  # by one that was killed: rows, not encrypted
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=home.run, prefix=_WORK) as work:
            yield Repository(place(to), key, Path(work), home.lock(to))


@contextlib.contextmanager
def clickhouse(settings: Settings, home: Home) -> Iterator[Client]:
    """As the administrator. Raises Failure where it does not answer, or no longer."""
    from clickhouse_connect.driver.exceptions import Error

    client = warehouse.as_admin(settings, home.secrets(), seconds=_PATIENCE_SECONDS)
    try:
        yield client
    except Error as error:
        raise Failure(
            f"ClickHouse answered no more: {str(error).strip()}\n"
            "See whether it runs (`telemetry status`), and repeat the command."
        ) from None
    finally:
        client.close_connections()  # the server waits for open ones before it ends


def key_of(home: Home) -> Key:
    """This installation's key, made at first use."""
    return Key.read(home.secret(KEY, Key.made))


def backup(settings: Settings, home: Home, to: str, *, encrypt: bool) -> Report:
    """Make one and let lapsed ones go. Raises Failure; what was there before stays good."""
    began = time.monotonic()
    home.prepare()
    made_key = not (home.secrets_folder / KEY).exists()
    with clickhouse(settings, home) as client, held(settings, home, to) as repository:
        # Rows of a whole team are nobody's to leave in a folder as they are.
        encrypt = encrypt or settings.backup.encrypt or "://" in to or not home.here
        making = _Making(client, home, repository, encrypt)
        manifest, name = making.run()
        removed, _ = repository.prune(_lapsed_before(settings))
        there = repository.objects()
        if manifest.objects - set(there):
            repository.place.delete([name])
            raise Failure(
                f"Somebody else rewrote the backups in {repository.place.name} meanwhile, "
                "and parts of this one. Repeat the command."
            )
        written = repository.manifests()[name]
    return Report(
        place=repository.place.name,
        manifest=name,
        made_at=_shown(manifest.made_at),
        newest_event=_shown(manifest.newest_event) if manifest.newest_event else "",
        rows=manifest.rows,
        days=len({each.day for each in manifest.entries if each.day}),
        written_rows=making.rows,
        written_bytes=making.bytes,
        bytes=sum(there[each].bytes for each in manifest.objects),
        encrypted=encrypt,
        made_key=made_key,
        removed_backups=removed,
        lapses_at=_shown(written + timedelta(days=settings.backup.days)),
        seconds=round(time.monotonic() - began, 3),
    )


def lapsed(settings: Settings, home: Home) -> bool:
    """Whether there are backups whose time is over."""
    return any(each.made_at < _lapsed_before(settings) for each in _known(home))


def kept_too_long(home: Home, grace: timedelta) -> list[str]:
    """Places with backups whose time is over, and which nothing has removed."""
    now = datetime.now(UTC)
    over = {each.place for each in _known(home) if each.lapses_at and each.lapses_at + grace < now}
    return [
        f"{place} holds backups that should be gone: `telemetry tick`" for place in sorted(over)
    ]


def prune_lapsed(settings: Settings, home: Home) -> int:
    """Let backups go whose time is over, wherever this machine made some; how many."""
    removed = 0
    before = _lapsed_before(settings)
    for to in sorted({each.place for each in _known(home) if each.made_at < before}):
        with held(settings, home, to) as repository:
            removed += repository.prune(before)[0]
    return removed


@contextlib.contextmanager
def held(settings: Settings, home: Home, to: str) -> Iterator[Repository]:
    """The same, with this installation's key; the register says afterwards what is there."""
    with opened(home, to, key_of(home)) as repository:
        _refuse_absent(home, repository)
        yield repository
        _register(settings, home, repository)


def forget(home: Home, to: str) -> int:
    """The backups in a place are gone for good, and need not be let go; how many were known."""
    where = place(to).name
    found = sum(each.place == where for each in _known(home))
    copies.replace(home, "backup", where, [])
    return found


def last(home: Home) -> Copy | None:
    """The newest backup that this machine made."""
    return max(_known(home), key=lambda each: each.made_at, default=None)


def due(settings: Settings, home: Home) -> bool:
    """Whether it is time for the next one."""
    return settings.backup.every_days > 0 and late_by(settings, home) >= timedelta()


def late_by(settings: Settings, home: Home) -> timedelta:
    """How long ago the next one was due; negative: it is not yet. The first is due at once."""
    newest = last(home)
    if newest:
        return datetime.now(UTC) - newest.made_at - timedelta(days=settings.backup.every_days)
    member = home.secrets_folder / "member"
    begun = datetime.fromtimestamp(member.stat().st_mtime, UTC) if member.exists() else None
    return datetime.now(UTC) - begun if begun else timedelta()


def _refuse_absent(home: Home, repository: Repository) -> None:
    """A disk that is not connected looks like an empty folder."""
    where = repository.place.name
    known = any(each.place == where for each in _known(home))
    if known and where != home.backup_place and not repository.manifests():
        raise Failure(
            f"{where} has held backups of yours, and holds none now. Connect that disk; or, if "
            f"they are gone for good: telemetry backup --forget --to {where}"
        )


def _known(home: Home) -> list[Copy]:
    return [each for each in copies.known(home) if each.kind == "backup"]


def _lapsed_before(settings: Settings) -> datetime:
    return datetime.now(UTC) - timedelta(days=settings.backup.days)


def look(settings: Settings, home: Home, to: str) -> None:
    """Register what is in a place now, whoever made it. Raises Failure."""
    with opened(home, to, None) as repository:
        _register(settings, home, repository)


def take_key(home: Home, file: Path) -> None:
    """Keep a key that was made elsewhere, for all backups from here on. Raises Failure, Misuse."""
    home.prepare()
    try:
        given = Key.read(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misuse(f"{file} cannot be read: {error.strerror or error}") from None
    own = home.secrets_folder / KEY
    if own.exists() and Key.read(own.read_text(encoding="utf-8")) != given:
        raise Failure(
            f"There is another key here, {own}: backups made with it open with no other. Move it "
            "away if there are none that you need."
        )
    write_private(own, given.text)


def _register(settings: Settings, home: Home, repository: Repository) -> None:
    lasts = max(timedelta(days=settings.backup.days), repository.lock)
    where = repository.place.name
    there = [
        Copy("backup", where, written, written + lasts)
        for written in repository.manifests().values()
    ]
    copies.replace(home, "backup", where, there)


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


@contextlib.contextmanager
def _alone(home: Home) -> Iterator[None]:
    with (home.run / "backup.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(
                "Another backup or restore is at work on this machine: wait for its end."
            ) from None
        yield


# --- The rows


def of_day(day: date | None) -> str:
    """Condition on the rows that a backup takes: parameter `day`, where there is one."""
    return "true" if day is None else "toDate(ts) = {day:Date} AND synthetic = ''"


def fingerprint(client: Client, table: str, day: date | None) -> str:
    """Of the rows of a day: how many, and a sum of the hashes of all their bytes."""
    [(rows, hashed)] = client.query(
        "SELECT count(), sum(sipHash64(formatRow('RowBinary', *))) "
        f"FROM {names.DATABASE}.{table} WHERE {of_day(day)}",
        parameters={"day": day} if day else {},
    ).result_rows
    return f"{rows}:{int(hashed):016x}"


def days(client: Client, table: str) -> list[date]:
    """Days of which a table has rows."""
    found = client.query(
        f"SELECT DISTINCT toDate(ts) AS day FROM {names.DATABASE}.{table} ORDER BY day"
    )
    return [day for (day,) in found.result_rows]


def stored(
    client: Client,
    repository: Repository,
    table: str,
    where: str,
    parameters: Mapping[str, Any],
    *,
    encrypt: bool,
) -> tuple[int, tuple[Object, ...]]:
    """Put the rows of a table that meet a condition into objects: how many, and which."""
    rows, objects = 0, []
    for select in parquet.selects(client, table, where, parameters):
        file = repository.work / "rows.parquet"
        rows += parquet.export(client, select, file, parameters).rows
        objects.append(repository.put(file, encrypt=encrypt))
    return rows, tuple(objects)


def loaded(client: Client, repository: Repository, entry: Entry, table: str) -> None:
    """Insert the rows of an entry into a table."""
    for each in entry.objects:
        file = repository.fetched(each.name)
        parquet.insert(client, table, file)
        if file.suffix == ".plain":
            file.unlink()


@dataclass
class _Making:
    """A backup on its way."""

    client: Client
    home: Home
    repository: Repository
    encrypt: bool
    rows: int = 0
    bytes: int = 0
    """Written so far."""

    def run(self) -> tuple[Manifest, str]:
        """The manifest, and its name."""
        member = self.home.secrets().member
        before, there = self._before(member), self.repository.objects()
        made_at = datetime.now(UTC)
        newest = self._newest()
        with step(f"Backing up to {self.repository.place.name}") as shown:
            entries = []
            for table, day in self._all():
                shown.update(f"{table} {day or ''}, {self.rows:,} rows written")
                entries.append(self._entry(table, day, before.get((table, day)), there))
        manifest = Manifest(
            made_at=made_at,
            member=member,
            schema_file=migrations.migrations()[-1].name,
            newest_event=newest,
            keys=self._keys(),
            entries=tuple(entries),
        )
        return manifest, self.repository.write(manifest, encrypt=self.encrypt)

    def _all(self) -> Iterator[tuple[str, date | None]]:
        for table in names.BACKED_UP_WHOLE:
            yield table, None
        for table in names.BACKED_UP_BY_DAY:
            for day in days(self.client, table):
                yield table, day

    def _before(self, member: str) -> dict[tuple[str, date | None], Entry]:
        """What the last backup there says. Raises Failure where it is somebody else's."""
        manifests = self.repository.manifests()
        if not manifests:
            return {}
        newest = self.repository.manifest(list(manifests)[-1])
        if newest.member != member:
            raise Failure(
                f"{self.repository.place.name} holds the backups of {newest.member}, and you are "
                f"{member}. Name a folder of your own: --to."
            )
        return {(each.table, each.day): each for each in newest.entries}

    def _entry(
        self, table: str, day: date | None, before: Entry | None, there: dict[str, Lies]
    ) -> Entry:
        print_ = fingerprint(self.client, table, day)
        if before and before.fingerprint == print_ and self._usable(before, there):
            return before
        given = {"day": day} if day else {}
        rows, objects = stored(
            self.client, self.repository, table, of_day(day), given, encrypt=self.encrypt
        )
        after = fingerprint(self.client, table, day)
        self.rows += rows
        self.bytes += sum(each.bytes for each in objects)
        return Entry(
            table=table,
            day=day,
            rows=rows,
            fingerprint=print_ if print_ == after else "",
            objects=objects,
        )

    def _usable(self, entry: Entry, there: dict[str, Lies]) -> bool:
        """Whether its objects are still there, and of the kind that is made now."""
        return all(
            each.name.endswith(".age") == self.encrypt
            and each.name in there
            and there[each.name].bytes == each.bytes
            for each in entry.objects
        )

    def _newest(self) -> datetime | None:
        [(rows, newest)] = self.client.query(
            f"SELECT count(), max(ts) FROM {names.DATABASE}.{names.EVENTS} WHERE synthetic = ''"
        ).result_rows
        return newest.replace(tzinfo=UTC) if rows else None

    def _keys(self) -> str:
        """The object with what another machine needs to go on as this one."""
        return self.repository.put_secret(json.dumps(self.home.carried())).name
