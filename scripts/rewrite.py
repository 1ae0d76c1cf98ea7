"""Taking rows out of backups that were made: what is purged must be gone from them too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING

from infra.settings import Settings
from infra.warehouse import names
from scripts import backup
from scripts.errors import Failure
from scripts.repository import Entry, Manifest, Object, Repository
from stacks.home import Home

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_SCRATCH = "backup_rewrite"


@dataclass(frozen=True)
class Removed:
    """Rows that were taken out of an object; several backups may share it."""

    table: str
    day: date | None
    rows: int


class LockedError(Failure):
    """Some backups hold such rows and cannot be deleted yet. The others were rewritten."""

    def __init__(self, place: str, backups: Mapping[datetime, datetime], until: datetime) -> None:
        self.backups = backups
        """Until when, by when they were written."""
        self.until = until
        super().__init__(f"what {place} holds of it is locked until {until:%Y-%m-%d %H:%M} UTC")


def drop(settings: Settings, home: Home, to: str) -> int:
    """Remove every backup in a place; how many. Raises Failure."""
    with backup.held(settings, home, to) as repository:
        return repository.drop()


def rewrite(
    settings: Settings,
    home: Home,
    to: str,
    conditions: Mapping[str, str],
    parameters: Mapping[str, str],
) -> list[Removed]:
    """Take the rows of tables that meet a condition (SQL, by table) out of all backups in a place.

    Whole or not at all for each backup, and repeated it does what is left. A backup keeps its time,
    so it lapses when it would have. Raises LockedError, at the end, and Failure.
    """
    with (
        backup.clickhouse(settings, home) as client,
        backup.held(settings, home, to) as repository,
    ):
        # The parameters name who is to be forgotten, and the audit would remember them.
        client.set_client_setting("log_queries", "0")
        try:
            return _Rewriting(client, repository, conditions, parameters).run()
        finally:
            client.command(f"DROP TABLE IF EXISTS {names.DATABASE}.{_SCRATCH} SYNC")


@dataclass
class _Rewriting:
    client: Client
    repository: Repository
    conditions: Mapping[str, str]
    parameters: Mapping[str, str]
    removed: list[Removed] = field(default_factory=list)
    done: dict[tuple[Object, ...], Entry | None] = field(default_factory=dict)
    """What objects became; None: nothing was left of them."""
    counts: dict[tuple[Object, ...], int] = field(default_factory=dict)
    """Rows of objects that are to go, where that was asked first."""

    def run(self) -> list[Removed]:
        manifests, locked = self.repository.manifests(), self.repository.locked_until()
        after: list[Manifest] = []
        left: dict[datetime, datetime] = {}
        for name, written in manifests.items():
            before = self.repository.manifest(name)
            held = [name, *(each for each in before.objects if each != before.keys)]
            until = max((locked[each] for each in held if each in locked), default=None)
            if until and any(self._found(each) for each in before.entries):
                left[written] = until
                after.append(before)
                continue
            encrypt = name.endswith(".age")
            entries = [self._entry(each, encrypt=encrypt) for each in before.entries]
            kept = tuple(each for each in entries if each is not None)
            after.append(before.model_copy(update={"entries": kept}))
            if kept != before.entries:
                self.repository.write(after[-1], encrypt=encrypt, written=written)
                self.repository.place.delete([name])
        named = set().union(*(each.objects for each in after))
        # Also what an interrupted run left: it may hold those rows.
        idle = set(self.repository.objects()) - named
        self.repository.place.delete(idle - set(locked))
        ends = [*left.values(), *(locked[each] for each in idle & set(locked))]
        if ends:
            raise LockedError(self.repository.place.name, left, max(ends))
        return self.removed

    def _entry(self, entry: Entry, *, encrypt: bool) -> Entry | None:
        if entry.table not in self.conditions or not entry.rows:
            return entry
        if entry.objects not in self.done:
            self.done[entry.objects] = self._rewritten(entry, encrypt=encrypt)
        return self.done[entry.objects]

    def _found(self, entry: Entry) -> int:
        """Rows of an entry that are to go."""
        if entry.table not in self.conditions or not entry.rows:
            return 0
        if entry.objects not in self.counts:
            self.counts[entry.objects] = self._load(entry)
        return self.counts[entry.objects]

    def _load(self, entry: Entry) -> int:
        """Put its rows into a table; how many are to go."""
        scratch = f"{names.DATABASE}.{_SCRATCH}"
        self.client.command(f"DROP TABLE IF EXISTS {scratch} SYNC")
        self.client.command(f"CREATE TABLE {scratch} AS {names.DATABASE}.{entry.table}")
        backup.loaded(self.client, self.repository, entry, _SCRATCH)
        condition = self.conditions[entry.table]
        counted = self.client.command(
            f"SELECT count() FROM {scratch} WHERE {condition}", parameters=dict(self.parameters)
        )
        return int(str(counted))

    def _rewritten(self, entry: Entry, *, encrypt: bool) -> Entry | None:
        if self.counts.get(entry.objects) == 0:
            return entry
        scratch, condition = f"{names.DATABASE}.{_SCRATCH}", self.conditions[entry.table]
        counted = self._load(entry)
        if not counted:
            return entry
        self.client.command(
            f"ALTER TABLE {scratch} DELETE WHERE {condition} SETTINGS mutations_sync = 2",
            parameters=dict(self.parameters),
        )
        self.removed.append(Removed(entry.table, entry.day, counted))
        print_ = backup.fingerprint(self.client, _SCRATCH, entry.day)
        if print_.startswith("0:"):
            return None  # and no object of no rows, which a lock would keep
        rows, objects = backup.stored(
            self.client, self.repository, _SCRATCH, "true", {}, encrypt=encrypt
        )
        found = {"rows": rows, "fingerprint": print_, "objects": objects}
        return entry.model_copy(update=found)
