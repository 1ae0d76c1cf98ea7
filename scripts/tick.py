"""`telemetry tick`: do what is due, and nothing else. Called again and again, by a timer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from infra.settings import Settings
from scripts import backup, canary, cleanup, counters, limit, up, warehouse
from scripts.errors import Failure, Misuse
from stacks import stores
from stacks.embedded.processes import Layout
from stacks.home import Home

CANARY_EVERY = timedelta(hours=24)
LATE = timedelta(hours=6)
"""So long past its time a task is overdue: the timer does not run, or the task fails."""


@dataclass(frozen=True)
class Done:
    """A task, and how it went."""

    name: str
    well: bool
    said: str


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _age(home: Home) -> timedelta | None:
    last = canary.last(home)
    return None if last is None else datetime.now(UTC) - _time(last.at)


def tick(settings: Settings, home: Home) -> list[Done]:
    """Do what is due. While paused no canary is: nothing could be sent. Raises Failure."""
    sends = not home.paused.exists()
    stored = warehouse.answers(f"{warehouse.url(settings)}/ping")
    if counters.waiting(settings) == 0:
        home.delivered.write_bytes(b"")
    tasks: list[tuple[str, bool, Callable[[], Done]]] = [
        ("canary", sends and canary_due(home), lambda: _canary(settings, home)),
        ("lapsed backups", backup.lapsed(settings, home), lambda: _lapsed(settings, home)),
        ("members", stored and up.logins_lapsed(settings, home), lambda: _members(settings, home)),
        ("limit", stored, lambda: _limit(settings, home)),
        ("cleanup", stored and cleanup.is_due(home), lambda: _cleanup(settings, home)),
        ("backup", backup.due(settings, home), lambda: _backup(settings, home)),
    ]
    done = [task() for _, due, task in tasks if due]
    return [each for each in done if each.said]


def canary_due(home: Home) -> bool:
    """Whether the last canary is a day old."""
    age = _age(home)
    return age is None or age >= CANARY_EVERY


def overdue(settings: Settings, home: Home) -> list[str]:
    """What should have been done by now."""
    found = (
        _canary_overdue(home),
        _backup_overdue(settings, home),
        *backup.kept_too_long(home, LATE),
    )
    return [late for late in found if late]


def _backup_overdue(settings: Settings, home: Home) -> str:
    late = backup.late_by(settings, home)
    if settings.backup.every_days == 0 or late < LATE:
        return ""
    return f"a backup is {int(late.total_seconds() // 3600)} hours overdue: `telemetry backup`"


def _canary_overdue(home: Home) -> str:
    """`up` is the time for the first."""
    if home.paused.exists():
        return ""
    age = _age(home)
    if age is None:
        there = _there(home)
        if there is None or there < CANARY_EVERY:
            return ""
        return "no canary was ever sent: `telemetry verify --canary`, and `telemetry tick` each day"
    if age < CANARY_EVERY + LATE:
        return ""
    hours = int(age.total_seconds() // 3600)
    return f"the last canary is {hours} hours old: `telemetry tick` runs it"


def _there(home: Home) -> timedelta | None:
    """How long there has been a stack, by what its first `up` wrote; None: there is none."""
    marks = [Layout(home).collector_config, *([home.containers] if stores.stacks(home) else [])]
    times = [file.stat().st_mtime for file in marks if file.exists()]
    return datetime.now(UTC) - datetime.fromtimestamp(min(times), UTC) if times else None


def _canary(settings: Settings, home: Home) -> Done:
    found = canary.canary(settings, home)
    return Done("canary", found.well, found.said)


def _limit(settings: Settings, home: Home) -> Done:
    try:
        return Done("limit", True, limit.enforce(settings, home))
    except Failure as failure:
        return Done("limit", False, str(failure))


def _members(settings: Settings, home: Home) -> Done:
    try:
        up.up(settings, home)
    except Failure as failure:
        return Done("members", False, str(failure))
    return Done("members", True, "credentials that have ended are shut out")


def _cleanup(settings: Settings, home: Home) -> Done:
    """What the retention says must go, goes without asking."""
    try:
        found = cleanup.cleanup(settings, home, archive=None, dry_run=False, agreed=lambda _: True)
    except Failure as failure:
        return Done("cleanup", False, str(failure))
    return Done("cleanup", True, "; ".join(cleanup.lines(found)))


def _lapsed(settings: Settings, home: Home) -> Done:
    try:
        return Done("lapsed backups", True, f"{backup.prune_lapsed(settings, home)} removed")
    except (
        Failure
    ) as failure:  # the disk may not be connected: the other tasks are due all the same
        return Done("lapsed backups", False, str(failure))


def _backup(settings: Settings, home: Home) -> Done:
    try:
        made = backup.backup(settings, home, backup.destination(settings, home, ""), encrypt=False)
    except (Failure, Misuse) as failure:
        return Done("backup", False, str(failure))
    return Done("backup", True, made.said)
