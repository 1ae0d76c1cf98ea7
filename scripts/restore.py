"""`telemetry restore`: a backup back into ClickHouse.

It adds: rows that are there stay, and a row that is in both is there once. So it may be interrupted
and run again. On a new machine it also makes this the same installation: member and pseudonyms.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.settings import Settings, load
from infra.warehouse import migrations, names
from scripts import backup, purge, warehouse
from scripts import up as starting
from scripts.backup import fingerprint
from scripts.console import step
from scripts.errors import Failure, Misuse
from scripts.repository import Entry, Key, Manifest, Repository
from stacks import stores
from stacks.embedded.processes import Layout
from stacks.home import PROJECT, Home, write_private

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


ENDPOINT = "endpoint-"
"""How a shared endpoint is called in its backups; a machine is called by its member."""


@dataclass(frozen=True)
class Plan:
    """What would be done. Nothing has been touched yet, and every checksum is right."""

    settings: Settings
    home: Home
    repository: Repository
    manifest: Manifest
    written: datetime
    there: dict[str, int]
    """Rows of the store, by table."""
    adopts: bool
    """This becomes the installation that was backed up: its member and its keys."""
    replaces: str
    """Member that this installation has had so far, where it adopts another."""
    carried: dict[str, str] = field(repr=False)
    """Texts of secrets and settings by file; empty where the key is not here."""
    expired: frozenset[tuple[str, date | None]]
    """Days that retention would delete at once."""

    @property
    def asks(self) -> bool:
        """Whether something is there already."""
        return bool(any(self.there.values()) or self.replaces)

    @property
    def entries(self) -> list[Entry]:
        """What is to be there afterwards."""
        return [e for e in self.manifest.entries if (e.table, e.day) not in self.expired]

    @property
    def left_out(self) -> int:
        """Rows that are not."""
        return self.manifest.rows - sum(each.rows for each in self.entries)

    def lines(self) -> list[str]:
        """In words."""
        manifest = self.manifest
        newest = f", newest event {_shown(manifest.newest_event)}" if manifest.newest_event else ""
        lines = [
            f"Backup of {_shown(manifest.made_at)} UTC in {self.repository.place.name}, all "
            f"checksums right: {manifest.rows:,} rows{newest}"
        ]
        for table in (*names.BACKED_UP_BY_DAY, *names.BACKED_UP_WHOLE):
            entries = [each for each in self.entries if each.table == table]
            days = sorted(each.day for each in entries if each.day)
            span = f", {len(days)} days, {days[0]} to {days[-1]}" if days else ""
            rows = sum(each.rows for each in entries)
            lines.append(f"  {table}: {rows:,} rows{span}; here: {self.there.get(table, 0):,}")
        if self.left_out:
            lines.append(
                f"{self.left_out:,} rows are left out: retention would delete them at once."
            )
        if any(self.there.values()):
            lines.append(
                "Rows that are here stay. Of a row that is in both, one stays: the backup's."
            )
        if self.adopts:
            was = f", no longer {self.replaces}" if self.replaces else ""
            what = "This machine" if self.home.here else "The endpoint"
            lines.append(f"{what} becomes {manifest.member}{was}.")
            if not self.carried:
                lines.append(
                    "The pseudonym key does not come along, for want of the backup's key (--key): "
                    "who had a pseudonym gets another one from now on."
                )
        return lines


@dataclass(frozen=True)
class Report:
    """What was restored."""

    place: str
    made_at: str
    newest_event: str
    """UTC; empty where there is no event."""
    hours_since: float
    """Since the backup was made. What was stored meanwhile is not in it."""
    restored_rows: int
    present_rows: int
    """Of the backup, that were here already."""
    left_out_rows: int
    equal: int
    """Tables and days whose rows are exactly those that were backed up."""
    more: int
    """That hold more, or changed while they were backed up."""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @property
    def said(self) -> str:
        """In words."""
        newest = f" Newest event in it: {self.newest_event} UTC." if self.newest_event else ""
        return (
            f"Restored {self.restored_rows:,} rows in {self.seconds:.1f} s, as of {self.made_at} "
            f"UTC; {self.present_rows:,} were here already.{newest} What was stored in the "
            f"{self.hours_since:.1f} hours since is not in it. Of {self.equal + self.more} "
            f"tables and days {self.equal} are equal byte for byte to what was backed up, "
            f"{self.more} hold that and more."
        )


def moment(text: str) -> datetime | None:
    """What --as-of says, UTC: a day means its end, and so does a second."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Misuse(f"--as-of {text!r} is no time, such as 2026-11-29 or 2026-11-29T10:30") from (
            None
        )
    if len(text) == len("2026-11-29"):
        found += timedelta(days=1) - timedelta(microseconds=1)
    elif not found.microsecond:
        found += timedelta(seconds=1) - timedelta(microseconds=1)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def key(home: Home, file: Path | None) -> Key | None:
    """From a file, else this installation's own, if it has one."""
    own = home.secrets_folder / backup.KEY
    if file is None and not own.exists():
        return None
    try:
        return Key.read((file or own).read_text(encoding="utf-8"))
    except OSError as error:
        raise Misuse(f"{file} cannot be read: {error.strerror or error}") from None


def backups(home: Home, place: str, key: Key | None) -> list[datetime]:
    """When those in a place were written, oldest first."""
    with backup.opened(home, place, key) as repository:
        return list(repository.manifests().values())


@contextlib.contextmanager
def planned(
    settings: Settings, home: Home, place: str, as_of: datetime | None, key_file: Path | None
) -> Iterator[Plan]:
    """Choose a backup, check all of it, and say what would be done. Raises Failure."""
    found = key(home, key_file)
    with backup.opened(home, place, found) as repository:
        name, written = _chosen(repository, as_of)
        manifest = repository.manifest(name)
        if manifest.schema_file > migrations.migrations()[-1].name:
            raise Failure(
                f"The backup was made with the schema of {manifest.schema_file}, which this "
                "version does not know: it was made by a newer one. Update this one."
            )
        with step("Checking the backup") as shown:
            for number, each in enumerate(sorted(manifest.objects)):
                shown.update(f"{number} of {len(manifest.objects)} files")
                repository.checked(each)
        mine = home.installation
        if home.here == manifest.member.startswith(ENDPOINT):
            raise Failure(
                f"{repository.place.name} holds the backups of a "
                f"{'shared endpoint' if home.here else 'machine'}, {manifest.member}: that is "
                f"restored {'with' if home.here else 'without'} --on."
            )
        there = _there(settings, home)
        if mine not in ("", manifest.member) and any(there.values()):
            raise Failure(
                f"The backup is that of {manifest.member}, and this installation, which holds "
                f"rows, is {mine}: they would be two members. "
                + (
                    "Restore into another state folder: set TELEMETRY_HOME."
                    if home.here
                    else "Restore into another stack, or give this one its old keys back "
                    "(docs/CLOUD.md)."
                )
            )
        carried = _carried(repository, manifest, must=key_file is not None or not home.here)
        yield Plan(
            settings=settings,
            home=home,
            repository=repository,
            manifest=manifest,
            written=written,
            there=there,
            adopts=mine != manifest.member or home.lacks(carried),
            replaces=mine if mine != manifest.member else "",
            carried=carried,
            expired=_expired(settings, manifest),
        )


def restore(plan: Plan) -> Report:
    """Do it. Raises Failure; run again, it goes on where it was."""
    began = time.monotonic()
    home = plan.home
    if plan.adopts:
        home.adopt(plan.manifest.member, plan.carried)
    if plan.repository.key and not (home.secrets_folder / backup.KEY).exists():
        write_private(home.secrets_folder / backup.KEY, plan.repository.key.text)
    settings = load(PROJECT, home.path) if home.here else plan.settings
    _start(settings, plan)
    with backup.clickhouse(settings, home) as client:
        restored = _insert(client, plan)
        equal = _compare(client, settings, plan)
        with step("Keeping out what was purged"):
            purge.keep_out(client, home)
        with step("Bringing the summaries up to date"):
            warehouse.refresh(client)
    manifest, entries = plan.manifest, plan.entries
    return Report(
        place=plan.repository.place.name,
        made_at=_shown(manifest.made_at),
        newest_event=_shown(manifest.newest_event) if manifest.newest_event else "",
        hours_since=round((datetime.now(UTC) - manifest.made_at).total_seconds() / 3600, 4),
        restored_rows=restored,
        present_rows=sum(each.rows for each in entries) - restored,
        left_out_rows=plan.left_out,
        equal=equal,
        more=len(entries) - equal,
        seconds=round(time.monotonic() - began, 3),
    )


def _chosen(repository: Repository, as_of: datetime | None) -> tuple[str, datetime]:
    found = repository.manifests()
    if not found:
        raise Failure(f"There is no backup in {repository.place.name}. Name another place: --from.")
    fitting = [(name, at) for name, at in found.items() if as_of is None or at <= as_of]
    if not fitting:
        oldest = _shown(min(found.values()))
        raise Failure(f"No backup is so old: the oldest one is of {oldest} UTC.")
    return fitting[-1]


def _there(settings: Settings, home: Home) -> dict[str, int]:
    """Rows of the store; none where there is no store yet."""
    if not home.begun:
        return {}
    if not warehouse.answers(f"{warehouse.url(settings)}/ping"):
        if Layout(home).clickhouse_data.exists() or stores.stacks(home):
            raise Failure(
                "ClickHouse does not answer, and there is a store that may hold rows. Start it "
                "first: `telemetry up` (or `pulumi up -s local`)."
            )
        return {}
    real = {
        **dict.fromkeys(names.BACKED_UP_BY_DAY, "synthetic = ''"),
        # Its row of 1970 only tells when days were last written down.
        names.DAILY_METRICS_KEPT: "day > toDate(0)",
        # A store makes a report at once; one without a class says that nothing was held.
        names.RETENTION_REPORTS: "class != ''",
        # That of a new store holds what `up` asked.
        **dict.fromkeys(names.ACCESS, "0"),
    }
    counts = " UNION ALL ".join(
        f"SELECT '{table}', count() FROM {names.DATABASE}.{table} WHERE {real.get(table, '1')}"
        for table in (*names.BACKED_UP_BY_DAY, *names.BACKED_UP_WHOLE)
    )
    with backup.clickhouse(settings, home) as client:
        return {table: rows for table, rows in client.query(counts).result_rows}  # noqa: C416


def _carried(repository: Repository, manifest: Manifest, *, must: bool) -> dict[str, str]:
    if repository.key is None:
        return {}
    try:
        text = repository.secret(manifest.keys)
    except Failure:
        if must:
            raise
        return {}  # the key of another installation: rows that are not encrypted can be had
    found: dict[str, str] = json.loads(text)
    return found


def _expired(settings: Settings, manifest: Manifest) -> frozenset[tuple[str, date | None]]:
    kept = {ttl.table: ttl.days for ttl in migrations.retention(settings)}
    today = datetime.now(UTC).date()
    return frozenset(
        (each.table, each.day)
        for each in manifest.entries
        if each.day and each.day < today - timedelta(days=kept[each.table])
    )


def _start(settings: Settings, plan: Plan) -> None:
    """ClickHouse must run, as the member whose rows these are."""
    if not plan.home.here and plan.adopts:
        raise Failure(
            "Keys and members are restored, the rows are not yet: the machine has to learn of them "
            "first. Wait two minutes, and then this command again."
        )
    if not plan.adopts and warehouse.answers(f"{warehouse.url(settings)}/ping"):
        return
    for stack in stores.stacks(plan.home):
        raise Failure(
            "Keys and settings are restored, the rows are not yet: the containers must learn of "
            f"them first. `pulumi up -s {stack}`, and then this command again."
        )
    report = starting.up(settings, plan.home)
    if report.verdict is not None and not report.verdict.well:
        raise Failure("Verification failed:\n  " + "\n  ".join(report.verdict.differences))


def _insert(client: Client, plan: Plan) -> int:
    """Rows inserted. Days that are there as they were backed up are not sent again."""
    rows, total = 0, sum(each.rows for each in plan.entries)
    with step("Restoring") as shown:
        for entry in plan.entries:
            shown.update(f"{entry.table} {entry.day or ''}, {rows:,} of {total:,} rows")
            if entry.fingerprint == fingerprint(client, entry.table, entry.day):
                continue
            backup.loaded(client, plan.repository, entry, entry.table)
            rows += entry.rows
    return rows


def _compare(client: Client, settings: Settings, plan: Plan) -> int:
    """How many days are as they were; raises Failure where rows are missing."""
    kept = {ttl.table: ttl.days for ttl in migrations.retention(settings)}
    today = datetime.now(UTC).date()
    equal = 0
    with step("Comparing with the backup"):
        for entry in plan.entries:
            found = fingerprint(client, entry.table, entry.day)
            equal += found == entry.fingerprint
            leaving = entry.day == today - timedelta(days=kept.get(entry.table, 0))
            if int(found.partition(":")[0]) < entry.rows and not leaving:
                raise Failure(
                    f"{entry.table} {entry.day or ''} has fewer rows than the backup: {found} "
                    f"instead of {entry.rows}. Run the same command again."
                )
    return equal


def _shown(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
