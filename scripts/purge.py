"""`telemetry purge`: delete everything of one member or one session, wherever it is.

In this order, so that an interruption is mended by running it again: keep out what comes late or
again; let the queue run empty; delete rows and make summaries anew; wait until no file on disk
holds them; take the member out of the audit; rewrite files beside the database, archives and
backups; look for what is left; sign what was done.

Of a shared endpoint, what lies on its machine's disk beside the database lapses, and that is said.
"""

from __future__ import annotations

import json
import secrets as randomness
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from infra.collector.purge import purge_hash
from infra.settings import Settings
from infra.warehouse import names
from scripts import backup, cleanup, counters, evidence, kept, parquet, rewrite, warehouse
from scripts.console import say, step
from scripts.errors import Failure
from stacks import copies
from stacks.home import Home

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

PROMISED_DAYS = 30
"""Within so many days a request is fulfilled, backups included."""
_DRAIN_SECONDS = 300
_PARTS_SECONDS = 300
_FOREVER = datetime(2299, 12, 31, tzinfo=UTC)
_SUMMARIES = tuple(f"{name}_store" for name in names.SUMMARIES)
_SCRATCH = "purge_scratch"
_ROWS = (*names.OWN_EVENTS, names.SESSION_LABELS)
_ASKED = "user = {target:String} AND ts <= {began:DateTime}"
"""Of the access audit."""
_TABLES = (*_ROWS, *_SUMMARIES)
"""With those that are made anew from the others."""

Kind = Literal["member", "session"]


@dataclass(frozen=True)
class Target:
    """Who or what is to go."""

    kind: Kind
    value: str

    @property
    def column(self) -> str:
        """In tables."""
        return "member" if self.kind == "member" else "session_id"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Somewhere that rows or records of the target were."""

    where: str
    what: str
    before: int
    after: int | None = None
    """None: not purged yet."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A copy, and when it is gone by itself."""

    place: str
    kind: str
    made_at: str
    lapses_at: str
    """Empty: never by itself."""
    locked_until: str = ""
    """Nobody can delete it before; empty: it can be."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would be deleted."""

    target: Target
    places: tuple[Place, ...]
    copies: tuple[Kept, ...]
    """Backups: they are rewritten where they can be reached."""
    unreached: tuple[str, ...] = ()
    """What lies elsewhere, out of reach from here, and when it goes."""

    @property
    def found(self) -> int:
        """Rows and records."""
        return sum(each.before for each in self.places)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Purged:
    """What was deleted, and the file that says so."""

    number: str
    places: tuple[Place, ...]
    copies: tuple[Kept, ...]
    evidence: str
    """Empty: there is none yet, for backups are locked."""
    unreached: tuple[str, ...] = ()
    again_at: str = ""
    """UTC, when to repeat it, where backups are locked; the request is open until then."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass
class Purger:
    """Of one stack and one target."""

    settings: Settings
    home: Home
    client: Client
    target: Target
    began: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    """What the member does from then on is not part of it."""

    def _condition(self, table: str) -> str:
        """SQL of the target's rows."""
        earlier = "" if table not in names.OWN_EVENTS else " AND ts <= {began:DateTime}"
        return f"{self.target.column} = {{target:String}}{earlier}"

    def _count(self, table: str) -> int | None:
        """Rows of a table that are the target's; None where it has no such column."""
        has = self._value(
            "SELECT count() FROM system.columns WHERE database = {db:String} "
            "AND table = {table:String} AND name = {column:String}",
            db=names.DATABASE,
            table=table,
            column=self.target.column,
        )
        if not has:
            return None
        return int(
            self._value(
                f"SELECT count() FROM {names.DATABASE}.{table} "
                f"WHERE {self._condition(table)} SETTINGS final = 0"
            )
        )

    @property
    def _given(self) -> dict[str, str]:
        return {"target": self.target.value, "began": f"{self.began:%Y-%m-%d %H:%M:%S}"}

    def _value(self, sql: str, **parameters: Any) -> Any:
        given = {**self._given, **parameters}
        return self.client.query(sql, parameters=given).result_rows[0][0]

    # --- what there is

    def plan(self) -> Plan:
        """All places. Changes nothing."""
        tables = ((table, self._count(table)) for table in _TABLES)
        found = [
            Place(where=f"{names.DATABASE}.{table}", what="rows", before=rows)
            for table, rows in tables
            if rows
        ]
        found += [
            Place(where=f"system.{log}", what="audit rows", before=rows)
            for log in self._logs()
            if (rows := self._audited(log))
        ]
        for keeper, file in self._files():
            if records := sum(1 for line in keeper.lines(file) if self._names(line)):
                found.append(Place(where=file.shown, what="lines", before=records))
        found += [
            Place(where=f"{names.DATABASE}.{table}", what="audit rows", before=rows)
            for table in names.ACCESS
            if (rows := self._asked(table))
        ]
        for folder, each, rows in self._archived():
            found.append(Place(where=str(folder / each.file), what="archived rows", before=rows))
        return Plan(
            target=self.target,
            places=tuple(found),
            copies=tuple(self._backups()),
            unreached=self.home.unreached(),
        )

    def _names(self, line: bytes) -> bool:
        return self.target.value.encode() in line

    def _files(self) -> Iterator[tuple[kept.Place, kept.File]]:
        """Records set aside, and what programs log, line by line."""
        if not self.home.here:
            return
        yield from kept.set_aside(self.settings, self.home)
        keeper = kept.Folder(self.home)
        yield from ((keeper, file) for file in keeper.listed(self.home.log))

    def _logs(self) -> list[str]:
        """Tables of the audit, older ones that an upgrade of ClickHouse left among them."""
        rows = self.client.query(
            "SELECT name FROM system.tables WHERE database = 'system' "
            "AND match(name, {like:String}) ORDER BY name",
            parameters={"like": f"^({'|'.join(names.AUDIT_LOGS)})(_[0-9]+)?$"},
        ).result_rows
        return [str(row[0]) for row in rows]

    def _log_columns(self, log: str) -> list[str]:
        rows = self.client.query(
            "SELECT name FROM system.columns WHERE database = 'system' AND table = {log:String} "
            "AND default_kind != 'ALIAS' ORDER BY position",
            parameters={"log": log},
        ).result_rows
        return [str(row[0]) for row in rows]

    def _audit_condition(self, log: str) -> str:
        """Rows of the member, and of anybody who named the target."""
        columns = set(self._log_columns(log))
        parts = [
            f"position({column}, {{target:String}}) > 0"
            for column in ("query", "formatted_query", "exception", "view_query")
            if column in columns
        ]
        if "query_parameters" in columns:
            parts.append("has(mapValues(query_parameters), {target:String})")
        if self.target.kind == "member":
            parts += [
                f"{column} = {{target:String}}"
                for column in ("user", "initial_user")
                if column in columns
            ]
        return f"event_time <= {{began:DateTime}} AND ({' OR '.join(parts) or 'false'})"

    def _audited(self, log: str) -> int:
        self.client.command("SYSTEM FLUSH LOGS")
        return int(
            self._value(f"SELECT count() FROM system.{log} WHERE {self._audit_condition(log)}")
        )

    def _asked(self, table: str) -> int:
        """Rows of the access audit that are the member's. Of a session there are none that tell of
        it: a query is kept without literals."""
        if self.target.kind != "member":
            return 0
        return int(
            self._value(
                f"SELECT count() FROM {names.DATABASE}.{table} WHERE {_ASKED} SETTINGS final = 0"
            )
        )

    def _archives(self) -> list[Path]:
        places = {each.place for each in copies.known(self.home) if each.kind == "archive"}
        return [Path(place) for place in sorted(places)]

    def _archived(self) -> Iterator[tuple[Path, cleanup.Archived, int]]:
        """Files of archives with rows of the target, and how many. Raises Failure for one that is
        not there: a disk that is not connected is no reason to say that nothing is on it."""
        for folder in self._archives():
            if not (folder / cleanup.MANIFEST).exists():
                raise Failure(
                    f"The archive in {folder} is not there. Connect that disk; or, if the archive "
                    f"is gone for good, take it out of {self.home.copies}."
                )
            for each in cleanup.read_manifest(folder):
                with self._loaded(folder, each) as scratch:
                    rows = int(
                        self._value(
                            f"SELECT count() FROM {names.DATABASE}.{scratch} "
                            f"WHERE {self._condition(each.table)}"
                        )
                    )
                if rows:
                    yield folder, each, rows

    @contextmanager
    def _loaded(self, folder: Path, each: cleanup.Archived) -> Iterator[str]:
        """A table with the rows of a file of an archive."""
        table = f"{names.DATABASE}.{_SCRATCH}"
        try:
            self.client.command(f"DROP TABLE IF EXISTS {table} SYNC")
            self.client.command(f"CREATE TABLE {table} AS {names.DATABASE}.{each.table}")
            self.client.command(f"ALTER TABLE {table} REMOVE TTL")
            parquet.insert(self.client, _SCRATCH, folder / each.file)
            yield _SCRATCH
        finally:
            self.client.command(f"DROP TABLE IF EXISTS {table} SYNC")

    def _backups(self) -> Iterator[Kept]:
        for each in copies.known(self.home):
            if each.kind == "backup":
                lapses = each.lapses_at.strftime("%Y-%m-%d") if each.lapses_at else ""
                yield Kept(
                    place=each.place,
                    kind=each.kind,
                    made_at=_time(each.made_at),
                    lapses_at=lapses,
                )

    # --- deleting it

    def run(self, plan: Plan, number: str, requested_at: datetime) -> Purged:
        """Delete it all, and sign what was done. Raises Failure; then run it again."""
        with step("Keeping out what comes late"):
            self._suppress()
        if self.home.here:
            with step("Letting the queue run empty") as shown:
                self._drain(shown.update)
        with step("Deleting rows"):
            for table in _ROWS:
                if self._count(table):
                    self._delete(table, self._condition(table))
            self._forget_days()
        with step("Making summaries anew"):
            warehouse.refresh(self.client)
        with step("Waiting until no file holds them") as shown:
            self._wait_for_parts((*_ROWS, names.DAILY_METRICS_KEPT), shown.update)
        with step("Taking them out of the audit"):
            self._clear_audit(number)
        with step("Rewriting files and archives"):
            self._rewrite_files()
            self._rewrite_archives()
            kept, again = self._rewrite_backups(plan.copies)
        places = self._counted(plan)
        left = [each for each in places if each.after and not self._goes_on(each)]
        if left:
            raise Failure(
                "Not all of it is gone: "
                + ", ".join(f"{each.after} {each.what} in {each.where}" for each in left)
                + ". Run the same command again."
            )
        self._note(plan)
        if again:
            return Purged(
                number=number,
                places=places,
                copies=kept,
                evidence="",
                unreached=plan.unreached,
                again_at=_time(again),
            )
        done_at = datetime.now(UTC)
        with step("Forgetting who asked for it") as shown:
            finish(self.client, number, requested_at, done_at)
            self._wait_for_parts((names.PURGE_REQUESTS, *names.ACCESS), shown.update)
        file = evidence.write(
            self.home,
            f"purge-{number}",
            {
                "number": number,
                "what": self.target.kind,
                "hash": purge_hash(self.home.secrets().pseudonym_key, self.target.value),
                "requested_at": _time(requested_at),
                "done_at": _time(done_at),
                "places": [self._anonymous(each) for each in places],
                "copies_that_lapse": [asdict(each) for each in kept],
                "left_to_lapse": list(plan.unreached),
            },
        )
        return Purged(
            number=number,
            places=places,
            copies=kept,
            evidence=str(file),
            unreached=plan.unreached,
        )

    def _anonymous(self, place: Place) -> dict[str, Any]:
        """A path may hold a name: of it the evidence keeps the last parts."""
        where = place.where
        if where.startswith("/"):
            where = "/".join(Path(where).parts[-3:])
        return {**asdict(place), "where": where}

    def _suppress(self) -> None:
        until = self.began if self.target.kind == "member" else _FOREVER
        key = self.home.secrets().pseudonym_key
        self.client.insert(
            names.SUPPRESSIONS,
            [[purge_hash(key, self.target.value), until]],
            column_names=["hash", "until"],
            database=names.DATABASE,
        )

    def _drain(self, told: Callable[[str], None]) -> None:
        """Wait until ClickHouse has taken what waits, then make the queue's files anew: pages of
        them that are free still hold what stood in them."""
        end = time.monotonic() + _DRAIN_SECONDS
        while (waiting := counters.waiting(self.settings)) != 0:
            if waiting is None:
                raise Failure(
                    "The collector does not run, so its queue cannot run empty. `telemetry resume` "
                    "or `telemetry up`, then purge again."
                )
            if time.monotonic() > end:
                raise Failure(
                    f"{waiting} bytes still wait for ClickHouse after {_DRAIN_SECONDS} s: "
                    "`telemetry status` says why. Then purge again."
                )
            told(f"{waiting} bytes wait")
            time.sleep(0.5)
        for keeper in kept.places(self.settings, self.home):
            with keeper.still():
                # Nobody can tell what is in damaged ones.
                for file in keeper.files():
                    if file.damaged:
                        keeper.delete(file)
        if not warehouse.wait(f"http://127.0.0.1:{self.settings.ports.health}/", 60):
            raise Failure("The collector does not answer after its restart: `telemetry status`.")

    def _delete(self, table: str, condition: str) -> None:
        # ClickHouse keeps the last statement in a file: then it is one that names nobody.
        for each in (condition, "1 = 0"):
            self.client.command(
                f"ALTER TABLE {names.DATABASE}.{table} DELETE WHERE {each}",
                parameters=self._given,
                settings={"mutations_sync": 2},
            )

    def _goes_on(self, place: Place) -> bool:
        """Whether a summary has the member again because they went on working meanwhile."""
        return place.where.removeprefix(f"{names.DATABASE}.") in _SUMMARIES and bool(
            self._value(
                f"SELECT count() FROM {names.DATABASE}.{names.EVENTS} "
                f"WHERE {self.target.column} = {{target:String}} AND ts > {{began:DateTime}}"
            )
        )

    def _forget_days(self) -> None:
        """What was written down of days whose events are there is written down anew; the versions
        before would come back once those events are too old. Of days that are older, a group that
        was one member's alone is that member."""
        least = max(2, self.settings.privacy.cohort_floor)
        self._delete(
            names.DAILY_METRICS_KEPT,
            "day > today() - (SELECT events_days FROM telemetry.retention)"
            + (f" OR (day > toDate(0) AND members < {least})" * (self.target.kind == "member")),
        )

    def _wait_for_parts(self, tables: Sequence[str], told: Callable[[str], None]) -> None:
        """Until ClickHouse has removed the files from before the deletion."""
        deleted = datetime.now(UTC)
        end = time.monotonic() + _PARTS_SECONDS
        while left := self._value(
            "SELECT (SELECT count() FROM system.parts WHERE database = {db:String} AND NOT active "
            "AND table IN {tables:Array(String)} AND remove_time <= {deleted:DateTime}) "
            # Each is a file with the statement, which says what was looked for.
            "+ (SELECT count() FROM system.mutations WHERE database = {db:String} "
            "AND position(command, {target:String}) > 0) "
            # Summaries that were replaced.
            "+ (SELECT count() FROM system.dropped_tables WHERE database = {db:String} "
            "AND table_dropped_time <= {deleted:DateTime} + 20)",
            db=names.DATABASE,
            tables=list(tables),
            deleted=f"{deleted:%Y-%m-%d %H:%M:%S}",
        ):
            if time.monotonic() > end:
                raise Failure(
                    f"ClickHouse still keeps {left} old files after {_PARTS_SECONDS} s. Run the "
                    "same command again."
                )
            told(f"{left} old ones")
            time.sleep(0.5)
        broken = self._value(
            "SELECT count() FROM system.detached_parts WHERE database = {db:String}",
            db=names.DATABASE,
        )
        if broken:
            raise Failure(
                f"{broken} detached parts may hold rows too, and nobody can tell: see "
                "system.detached_parts, and drop them (ALTER TABLE ... DROP DETACHED PART)."
            )

    def _clear_audit(self, number: str) -> None:
        # It follows the server's logs, and must not read them while some are cleared and some not.
        warehouse.refresh_audit(self.client)
        with warehouse.audit_stopped(self.client):
            self._clear_access(number)
            for log in self._logs():
                if self._audited(log):
                    self._clear_log(log, number)

    def _clear_access(self, number: str) -> None:
        for table in names.ACCESS:
            if self._asked(table):
                text = ", query = ''" if table == names.ACCESS_LOG else ""
                changes = f"user = {{number:String}}, address = ''{text}"
                # ClickHouse keeps the last statement in a file: then it is one that names nobody.
                for each in (_ASKED, "1 = 0"):
                    self.client.command(
                        f"ALTER TABLE {names.DATABASE}.{table} UPDATE {changes} WHERE {each}",
                        parameters={**self._given, "number": f"purged-{number}"},
                        settings={"mutations_sync": 2},
                    )

    def _clear_log(self, log: str, number: str) -> None:
        columns = self._log_columns(log)
        cleared = [
            f"{column} = ''"
            for column in ("query", "formatted_query", "exception", "view_query", "stack_trace")
            if column in columns
        ]
        if "query_parameters" in columns:
            cleared.append("query_parameters = map()")
        cleared += [
            f"{column} = if({column} = {{target:String}}, {{number:String}}, {column})"
            for column in ("user", "initial_user")
            if column in columns and self.target.kind == "member"
        ]
        self.client.command(
            f"ALTER TABLE system.{log} UPDATE {', '.join(cleared)} "
            f"WHERE {self._audit_condition(log)}",
            parameters={**self._given, "number": f"purged-{number}"},
            settings={"mutations_sync": 2},
        )

    def _rewrite_files(self) -> None:
        for keeper, file in self._files():
            if any(self._names(line) for line in keeper.lines(file)):
                with keeper.still():
                    lines = (self._without(line) for line in keeper.lines(file))
                    keeper.replace(file, [line for line in lines if line])

    def _without(self, line: bytes) -> bytes:
        """A line without what is the target's; empty where all of it is, or nobody can tell."""
        if not self._names(line):
            return line
        try:
            document = json.loads(line)
            kept = _pruned(document, self.target)
        except (ValueError, RecursionError, AttributeError, TypeError):
            return b""
        text = json.dumps(kept, ensure_ascii=False).encode() + b"\n" if kept else b""
        return b"" if self._names(text) else text

    def _rewrite_archives(self) -> None:
        for folder, each, _ in list(self._archived()):
            with self._loaded(folder, each) as scratch:
                made = parquet.export(
                    self.client,
                    f"SELECT * FROM {names.DATABASE}.{scratch} "
                    f"WHERE NOT ({self._condition(each.table)})",
                    folder / each.file,
                    self._given,
                )
            cleanup.replace_in_manifest(folder, each, made)

    def _rewrite_backups(self, known: Sequence[Kept]) -> tuple[tuple[Kept, ...], datetime | None]:
        """Those that cannot be reached stay until they lapse; those that are locked too, unless
        this is repeated then: when."""
        conditions = {table: self._condition(table) for table in _ROWS}
        if self.target.kind == "member":
            conditions |= dict.fromkeys(names.ACCESS, _ASKED)
        own = Target("member", self.home.secrets().member)
        kept: list[Kept] = []
        again: datetime | None = None
        for place in dict.fromkeys(each.place for each in known):
            try:
                if self.target == own:  # all that is in them is this member's
                    rewrite.drop(self.settings, self.home, place)
                else:
                    rewrite.rewrite(self.settings, self.home, place, conditions, self._given)
            except rewrite.LockedError as error:
                again = max(again or error.until, error.until)
                ends = {_time(at): _time(until) for at, until in error.backups.items()}
                kept += [
                    replace(each, locked_until=ends[each.made_at])
                    for each in known
                    if each.place == place and each.made_at in ends
                ]
            except Failure as error:
                say(f"The backups at {place} stay until they lapse: {error}")
                kept += [each for each in known if each.place == place]
        return tuple(kept), again

    def _counted(self, plan: Plan) -> tuple[Place, ...]:
        """The places of the plan with what is there now, and any that came to it."""
        now = {each.where: each for each in self.plan().places}
        before = {each.where: each for each in plan.places}
        return tuple(
            Place(
                where=where,
                what=(before.get(where) or now[where]).what,
                before=before[where].before if where in before else 0,
                after=now[where].before if where in now else 0,
            )
            for where in dict.fromkeys([*before, *now])
        )

    def _note(self, plan: Plan) -> None:
        classes = {f"{names.DATABASE}.{table}": what for table, what in names.CLASSES.items()}
        today = datetime.now(UTC).date().isoformat()
        cleanup.note_deletions(
            self.client,
            "purge",
            [
                cleanup.Due(
                    what=classes[each.where],
                    where=each.where,
                    rows=each.before,
                    bytes=None,
                    # Their days would tell when someone worked.
                    first_day=today,
                    last_day=today,
                )
                for each in plan.places
                if each.where in classes
            ],
        )


def _pruned(document: dict[str, Any], target: Target) -> dict[str, Any]:
    """An OTLP request without the target's records; empty where none is left."""
    attribute = "member" if target.kind == "member" else "session.id"

    def is_target(attributes: Sequence[dict[str, Any]]) -> bool:
        return any(
            each["key"] == attribute and each["value"].get("stringValue") == target.value
            for each in attributes
        )

    def rest(node: Any) -> Any:
        if isinstance(node, list):
            kept = (rest(each) for each in node)
            return [each for each in kept if each is not None]
        if not isinstance(node, dict):
            return node
        attributes = (node.get("resource") or {}).get("attributes") or node.get("attributes") or []
        if is_target(attributes):
            return None
        found = {key: rest(value) for key, value in node.items()}
        for records in ("logRecords", "dataPoints", "scopeLogs", "scopeMetrics", "metrics"):
            if records in found and not found[records]:
                return None
        return found

    return {key: kept for key, value in document.items() if (kept := rest(value))}


# --- requests


def request(settings: Settings, home: Home, target: Target) -> str:
    """Note that someone asks for it; its id. Asking twice is asking once."""
    client = warehouse.as_admin(settings, home.secrets())
    client.set_client_setting("log_queries", "0")
    try:
        known = open_request(client, target)
        if known:
            return known[0]
        number = new_number()
        _write_request(client, number, target, datetime.now(UTC))
        return number
    finally:
        client.close_connections()


def new_number() -> str:
    """Random, so that it says nothing."""
    return randomness.token_hex(6)


def open_request(client: Client, target: Target) -> tuple[str, datetime] | None:
    """Id and time of the request for this that is not done yet."""
    column, other = ("member", "session_id")[:: 1 if target.kind == "member" else -1]
    condition = f"{column} = {{target:String}}"
    if target.kind == "member":
        condition += f" AND {other} = ''"
    rows = client.query(
        f"SELECT id, requested_at FROM {names.DATABASE}.{names.PURGE_REQUESTS} FINAL "
        f"WHERE {condition} AND done_at = toDateTime(0) ORDER BY requested_at LIMIT 1",
        parameters={"target": target.value},
    ).result_rows
    return (str(rows[0][0]), rows[0][1].replace(tzinfo=UTC)) if rows else None


def _write_request(client: Client, number: str, target: Target, at: datetime) -> None:
    is_member = target.kind == "member"
    owner = target.value if is_member else _owner(client, target.value)
    client.insert(
        names.PURGE_REQUESTS,
        [[number, owner, "" if is_member else target.value, at, datetime.fromtimestamp(0, UTC)]],
        column_names=["id", "member", "session_id", "requested_at", "done_at"],
        database=names.DATABASE,
    )


def _owner(client: Client, session: str) -> str:
    return str(
        client.query(
            f"SELECT max(member) FROM {names.DATABASE}.{names.EVENTS} "
            "WHERE session_id = {session:String}",
            parameters={"session": session},
        ).result_rows[0][0]
    )


def finish(client: Client, number: str, requested_at: datetime, done_at: datetime) -> None:
    """The request is done, and says no more who it was."""
    table = f"{names.DATABASE}.{names.PURGE_REQUESTS}"
    client.insert(
        names.PURGE_REQUESTS,
        [[number, "", "", requested_at, done_at]],
        column_names=["id", "member", "session_id", "requested_at", "done_at"],
        database=names.DATABASE,
    )
    client.command(
        f"ALTER TABLE {table} DELETE WHERE id = {{id:String}} AND done_at = toDateTime(0)",
        parameters={"id": number},
        settings={"mutations_sync": 2},
    )


def keep_out(client: Client, home: Home) -> None:
    """Delete what the list of suppressions knows, where rows came by another way than the
    collector's: out of a backup."""
    key = home.secrets().pseudonym_key
    known = {
        str(hashed): until
        for hashed, until in client.query(
            f"SELECT hash, until FROM {names.DATABASE}.{names.SUPPRESSIONS} FINAL"
        ).result_rows
    }
    for table in _ROWS if known else ():
        for column in ("member", "session_id"):
            found = client.query(f"SELECT DISTINCT {column} FROM {names.DATABASE}.{table}")
            for (value,) in found.result_rows:
                until = known.get(purge_hash(key, str(value)))
                if until is None:
                    continue
                at = "labelled_at" if table == names.SESSION_LABELS else "ts"
                client.command(
                    f"ALTER TABLE {names.DATABASE}.{table} DELETE "
                    f"WHERE {column} = {{value:String}} AND {at} <= {{until:DateTime64(3)}}",
                    parameters={"value": str(value), "until": f"{until:%Y-%m-%d %H:%M:%S.%f}"},
                    settings={"mutations_sync": 2},
                )


def overdue(client: Client) -> list[str]:
    """Requests that are open for so long that the promise is in danger."""
    rows = client.query(
        f"SELECT id, days FROM {names.DATABASE}.{names.PURGE_STATUS} "
        "WHERE done_at IS NULL AND days >= {days:UInt16} ORDER BY days DESC",
        parameters={"days": PROMISED_DAYS - 9},
    ).result_rows
    return [
        f"a purge was asked for {days} days ago ({number}): `telemetry purge`"
        for number, days in rows
    ]


def purge(
    settings: Settings, home: Home, target: Target, *, agreed: Callable[[Plan], bool]
) -> Plan | Purged:
    """Look, ask, and delete; the plan where that was not agreed to. Raises Failure."""
    client = warehouse.as_admin(settings, home.secrets(), seconds=3600)
    # The audit would remember the name in each of these; the evidence tells of them instead.
    client.set_client_setting("log_queries", "0")
    try:
        purger = Purger(settings, home, client, target)
        if not home.here:
            _look(settings, home)
        with step("Looking for it"):
            plan = purger.plan()
        if not agreed(plan):
            return plan
        now = datetime.now(UTC)
        known = open_request(client, target)
        number, requested_at = known or (new_number(), now)
        if known is None:
            _write_request(client, number, target, now)
        return purger.run(plan, number, requested_at)
    finally:
        client.close_connections()


def _look(settings: Settings, home: Home) -> None:
    """See which backups of an endpoint there are: another administrator may have made them."""
    try:
        backup.look(settings, home, backup.destination(settings, home, ""))
    except Failure as error:
        raise Failure(
            "The backups of the endpoint cannot be looked at, and what is purged must be gone from "
            f"them too. {error}"
        ) from None


def lines(plan: Plan) -> list[str]:
    """What would go, for people."""
    told = [f"{each.before:,} {each.what} in {each.where}" for each in plan.places]
    told += [
        f"what the {each.kind} of {each.made_at} at {each.place} has, rewritten now or gone on "
        f"{each.lapses_at}"
        for each in plan.copies
    ]
    told += [f"left to lapse, {each}" for each in plan.unreached]
    if plan.places or plan.copies:
        return told
    return ["Nothing of it is stored; what comes late will be kept out.", *told]


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
