"""`telemetry status`: what runs, what waits, what was set aside, and what is stored."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clickhouse_connect.driver.client import Client

from infra import prometheus
from infra.settings import Settings
from infra.warehouse import names
from scripts import (
    aside,
    backup,
    balance,
    canary,
    counters,
    delivery,
    files,
    kept,
    limit,
    login,
    purge,
    queries,
    supervise,
    tick,
    warehouse,
)
from scripts.errors import Failure
from stacks import stores
from stacks.embedded.processes import DISK_RESERVE_MIB, Layout
from stacks.home import Home

_DROPPED, _GAPS, _QUIET = "dropped-attributes", "gaps", "quiet-members"
_SHOWN = 20
_MIB = 1024**2


@dataclass(frozen=True)
class Status:
    """The stack of this machine. Bytes; None means it could not be asked."""

    well: bool
    stack: str
    """embedded, local, foreign (of another state folder), or none."""
    paused_since: str
    programs: dict[str, str]
    endpoints: dict[str, str]
    waiting_bytes: int | None
    queues: dict[str, counters.Queue]
    """What of it waits for ClickHouse, by signal; none where the collector does not answer."""
    waiting_since: str
    """UTC; the oldest that waits came then or later. Empty where nothing waits, or nobody knows."""
    balances: dict[str, balance.Balance]
    """Of what came since the collector started, by signal; none where it does not answer."""
    refused_records: int | None
    failed_sends: int | None
    samples_lost: int | None
    """Not taken by Prometheus; None also where none is asked for."""
    set_aside_bytes: int
    set_aside_records: int
    set_aside_last: str
    """Why the last one was; empty where there is none."""
    set_aside_queue_files: list[str]
    events: int | None
    last_event: str
    cost_without_chapter_usd: float | None
    dropped_attributes: list[str]
    """Names of attributes that came in the last week and nobody has listed."""
    sessions_with_gaps: int | None
    """Of the last week, whose events did not all arrive."""
    missing_events: int | None
    """Of those sessions, at least so many."""
    quiet_members: list[str]
    """Who has sent nothing for longer than they usually do."""
    canary: str
    """When made-up secrets were last looked for, UTC; empty where they never were."""
    last_backup: str
    """When the newest one was made, UTC; empty where none was."""
    last_backup_place: str
    last_backup_hours: float | None
    """Its age."""
    data_bytes: int
    stored_bytes: int | None
    """Of it, what counts towards the limit."""
    stored_limit_bytes: int
    memory_bytes: dict[str, int]
    """Of plain processes, by program."""
    memory_limit_bytes: dict[str, int]
    at_login: bool
    problems: list[str]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def _total(samples: list[counters.Sample], prefix: str) -> int | None:
    if not samples:
        return None
    return int(sum(value for name, _, value in samples if name.startswith(prefix)))


def _of_prometheus(sample: counters.Sample) -> bool:
    return 'exporter="prometheus_remote_write"' in sample[1]


def _lost_samples(samples: list[counters.Sample]) -> int | None:
    """What the exporter gave up, or its queue had no room for."""
    mine = [each for each in samples if _of_prometheus(each)]
    failed = ("otelcol_exporter_send_failed_", "otelcol_exporter_enqueue_failed_")
    return sum(_total(mine, prefix) or 0 for prefix in failed) if samples else None


def _prometheus_address(settings: Settings) -> str:
    """Where Prometheus is asked (our own) or written to; empty where there is none."""
    if settings.own_prometheus:
        return f"http://127.0.0.1:{settings.ports.prometheus}"
    return settings.prometheus.url if settings.backend != "clickhouse" else ""


def _size(folder: Path) -> int:
    return sum(found.st_size for _, found in files.below(folder))


def _little_room(home: Home) -> list[str]:
    """Folders whose disk has less than the collector leaves free."""
    found = []
    for folder, what in ((home.data, "ClickHouse may take nothing"), (home.queue, "no collector")):
        free = shutil.disk_usage(folder).free // 1024**2 if folder.exists() else DISK_RESERVE_MIB
        if free < DISK_RESERVE_MIB:
            found.append(f"{free} MiB are left at {folder}, and {what} until some is freed")
    return found


@dataclass(frozen=True)
class _Stored:
    events: int | None = None
    last: str = ""
    without_chapter: float | None = None
    dropped: tuple[str, ...] = ()
    gaps: tuple[int, ...] | None = None
    """Missing events by session."""
    quiet: tuple[str, ...] = ()
    late_purges: tuple[str, ...] = ()
    store: limit.Store | None = None


def _ask(client: Client, name: str, **given: str) -> list[dict[str, Any]]:
    """Rows of a shipped question."""
    question = queries.named(name)
    result = client.query(question.sql, parameters=question.arguments(given))
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


def _stored(settings: Settings, home: Home) -> _Stored:
    try:
        client = warehouse.as_member(settings, home.secrets())
    except Failure:
        return _Stored()
    [row] = client.query(
        "SELECT count(), toString(max(ts)), sumIf(cost_usd * weight, chapter = '') "
        f"FROM {names.DATABASE}.{names.EVENTS}"
    ).result_rows
    return _Stored(
        int(row[0]),
        str(row[1]) if row[0] else "",
        float(row[2] or 0),
        tuple(
            f"{each['attribute']} ({each['events_or_points']:.0f})"
            for each in _ask(client, _DROPPED, days="7")[:_SHOWN]
        ),
        tuple(int(each["missing_events"]) for each in _ask(client, _GAPS, limit="1000000")),
        tuple(
            f"{each['member']} ({each['quiet_days']} days)"
            for each in _ask(client, _QUIET)[:_SHOWN]
        ),
        tuple(purge.overdue(client)),
        limit.store(settings, warehouse.as_admin(settings, home.secrets())),
    )


def status(settings: Settings, home: Home) -> Status:
    """Look at everything; changes nothing."""
    layout = Layout(home)
    supervisor = supervise.Supervisor(layout)
    states = supervisor.states()
    paused = home.paused.read_text(encoding="utf-8").strip() if home.paused.exists() else ""
    clickhouse = warehouse.answers(f"{warehouse.url(settings)}/ping")
    collector = warehouse.answers(f"http://127.0.0.1:{settings.ports.health}/")
    stack = "embedded" if states else "none"
    if not states and (clickhouse or collector):
        stack = "local" if stores.stacks(home) else "foreign"
    problems = []
    if stack == "foreign":
        problems.append(
            f"what answers on these ports was not started from {home.path}: check TELEMETRY_HOME"
        )
    if not clickhouse:
        problems.append("ClickHouse does not answer: `telemetry up`")
    if not collector and not paused:
        problems.append("the collector does not answer: `telemetry up`")
    if collector and paused:
        problems.append("paused, yet a collector answers: `telemetry pause` again")
    to_prometheus = _prometheus_address(settings)
    if settings.own_prometheus and not warehouse.answers(f"{to_prometheus}{prometheus.READY}"):
        problems.append("Prometheus does not answer: `telemetry up`")
    problems += _little_room(home)
    samples = counters.samples(settings) if collector else []
    queues = counters.queues(samples)
    problems += [f"the queue of {name} {each.said}" for name, each in queues.items() if each.said]
    balances = balance.balances(settings, samples)
    problems += [each.problem for each in balances.values() if each.problem]
    waiting = frozenset(name for name, each in queues.items() if each.bytes)
    if waiting and clickhouse and stack != "foreign":
        log = delivery.log_of(settings, home, stack)
        problems += [each.said for each in delivery.stuck(log, waiting, datetime.now(UTC))]
    stored = _stored(settings, home) if clickhouse and home.secrets_folder.exists() else _Stored()
    problems += stored.late_purges
    problems += stored.store.said if stored.store else []
    memory, memory_limit = supervisor.memory(), _memory_limit(settings)
    if stack == "local" and clickhouse:
        memory = _told_memory(settings, home, samples)
    problems += [
        f"{name} takes {memory[name] / _MIB:.0f} MiB of memory, more than its "
        f"{bound / _MIB:.0f} (limits)"
        for name, bound in memory_limit.items()
        if memory.get(name, 0) > bound
    ]
    try:
        places = kept.places(settings, home) if stack == "local" else [kept.Folder(home)]
        beside = [(place, file) for place in places for file in place.files()]
    except Failure as error:
        problems.append(str(error))
        beside = []
    set_aside = [(place, file) for place, file in beside if not file.damaged]
    odd = aside.aside(set_aside)
    if odd.said:
        problems.append(f"{odd.said}, but in {set_aside[-1][1].shown}")
    damaged = [file.shown for _, file in beside if file.damaged]
    if damaged:
        problems.append(
            f"{len(damaged)} damaged queue file(s) set aside, keep for rescue or delete: "
            f"{', '.join(damaged)}"
        )
    last = canary.last(home)
    if last and not last.well:
        problems.append("made-up secrets were found in what is stored: `telemetry verify --canary`")
    problems += tick.overdue(settings, home)
    saved = backup.last(home)
    age = datetime.now(UTC) - saved.made_at if saved else None
    return Status(
        well=not problems,
        stack=stack,
        paused_since=paused,
        programs={name: f"{s.state} {s.detail}".strip() for name, s in states.items()},
        endpoints={
            "otlp_http": f"http://127.0.0.1:{settings.ports.otlp_http}",
            "otlp_grpc": f"http://127.0.0.1:{settings.ports.otlp_grpc}",
            "clickhouse": warehouse.url(settings),
            **({"prometheus": to_prometheus} if to_prometheus else {}),
        },
        waiting_bytes=_total(
            # That of Prometheus counts batches.
            [each for each in samples if not _of_prometheus(each)],
            "otelcol_exporter_queue_size",
        ),
        queues=queues,
        waiting_since=_waiting_since(home) if waiting else "",
        balances=balances,
        refused_records=_total(samples, "otelcol_receiver_refused_"),
        failed_sends=_total(samples, "otelcol_exporter_send_failed_"),
        samples_lost=_lost_samples(samples) if to_prometheus else None,
        set_aside_bytes=sum(file.bytes for _, file in set_aside),
        set_aside_records=odd.records,
        set_aside_last=odd.last,
        set_aside_queue_files=damaged,
        events=stored.events,
        last_event=stored.last,
        cost_without_chapter_usd=stored.without_chapter,
        dropped_attributes=list(stored.dropped),
        sessions_with_gaps=None if stored.gaps is None else len(stored.gaps),
        missing_events=None if stored.gaps is None else sum(stored.gaps),
        quiet_members=list(stored.quiet),
        canary=last.at if last else "",
        last_backup=f"{saved.made_at:%Y-%m-%d %H:%M:%S}" if saved else "",
        last_backup_place=saved.place if saved else "",
        last_backup_hours=round(age.total_seconds() / 3600, 1) if age else None,
        data_bytes=_size(home.data),
        stored_bytes=stored.store.bytes if stored.store else None,
        stored_limit_bytes=int(settings.limits.store_gib * limit.GIB),
        memory_bytes={name: size for name, size in memory.items() if name in memory_limit},
        memory_limit_bytes=memory_limit,
        at_login=login.file().exists(),
        problems=problems,
    )


def lines(found: Status) -> list[str]:
    """The same for people."""
    rows = [
        ("Stack", found.stack),
        *((f"  {name}", state) for name, state in found.programs.items()),
        ("Collecting", _collecting(found)),
        ("OTLP", found.endpoints["otlp_http"]),
        ("ClickHouse", found.endpoints["clickhouse"]),
        *_prometheus_lines(found),
        ("Events stored", _shown(found.events)),
        ("Last event", f"{found.last_event} UTC" if found.last_event else "none yet"),
        ("Events missing", _gaps(found)),
        ("Quiet members", ", ".join(found.quiet_members) or "none"),
        ("Cost without chapter", _shown(found.cost_without_chapter_usd, " USD")),
        ("Waiting for delivery", _waiting(found)),
        *(("Balance", each.said) for each in found.balances.values() if each.arrived),
        ("Refused", f"{_shown(found.refused_records)} since the collector started"),
        ("Set aside", f"{found.set_aside_records} records, {found.set_aside_bytes} bytes"),
        ("Canary sent", found.canary or "never"),
        ("Last backup", _backup(found)),
        ("Data on disk", f"{found.data_bytes / _MIB:.1f} MiB"),
        ("Store", store_shown(found.stored_bytes, found.stored_limit_bytes)),
        *(
            (
                "Memory",
                f"{name} {size / _MIB:.0f} of {found.memory_limit_bytes[name] / _MIB:.0f} MiB",
            )
            for name, size in found.memory_bytes.items()
        ),
        ("Starts at login", "yes" if found.at_login else "no"),
    ]
    shown = [f"{name:<22}{value}" for name, value in rows]
    dropped = ", ".join(found.dropped_attributes) or "none in a week"
    return [
        *shown,
        f"New attributes seen and dropped: {dropped}",
        *(f"Problem: {problem}" for problem in found.problems),
    ]


def _prometheus_lines(found: Status) -> list[tuple[str, str]]:
    if "prometheus" not in found.endpoints:
        return []
    return [
        ("Prometheus", found.endpoints["prometheus"]),
        ("Samples it lacks", f"{_shown(found.samples_lost)} since the collector started"),
    ]


def _memory_limit(settings: Settings) -> dict[str, int]:
    limits = settings.limits
    return {
        "clickhouse": limits.clickhouse_memory_mib * _MIB,
        "collector": limits.collector_memory_mib * _MIB,
    }


def _told_memory(settings: Settings, home: Home, samples: list[counters.Sample]) -> dict[str, int]:
    """Bytes of memory that the programs in containers take, as they say themselves."""
    client = warehouse.as_admin(settings, home.secrets())
    try:
        found = client.query(
            "SELECT value FROM system.metrics WHERE metric = 'MemoryTracking'"
        ).result_rows
    finally:
        client.close_connections()
    collector = _total(samples, "otelcol_process_memory_rss")
    told = {"clickhouse": int(found[0][0]) if found else None, "collector": collector}
    return {name: bytes_ for name, bytes_ in told.items() if bytes_}


def _waiting_since(home: Home) -> str:
    """When the queue was last seen empty."""
    if not home.delivered.exists():
        return ""
    at = datetime.fromtimestamp(home.delivered.stat().st_mtime, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}"


def store_shown(stored_bytes: int | None, limit_bytes: int) -> str:
    """How much ClickHouse stores, and how much it may."""
    if stored_bytes is None:
        return "unknown"
    return (
        f"{stored_bytes / _MIB:.1f} MiB of {limit_bytes / limit.GIB:g} GiB, "
        "at which the oldest events go first"
    )


def _waiting(found: Status) -> str:
    filled = (
        f"{name} {100 * each.bytes / each.limit_bytes:.0f} %" for name, each in found.queues.items()
    )
    of = f"; of what each may: {', '.join(filled)}" if found.queues else ""
    since = f", the oldest since {found.waiting_since} UTC or later" if found.waiting_since else ""
    return f"{_shown(found.waiting_bytes, ' bytes')}{since}{of}"


def _gaps(found: Status) -> str:
    if not found.missing_events:
        return "none in a week" if found.missing_events == 0 else "unknown"
    return (
        f"{found.missing_events} or more, of {found.sessions_with_gaps} session(s) in a week: "
        f"`telemetry query {_GAPS}`"
    )


def _backup(found: Status) -> str:
    if not found.last_backup:
        return "never"
    return (
        f"{found.last_backup} UTC, {found.last_backup_hours} hours ago, in "
        f"{found.last_backup_place}"
    )


def _collecting(found: Status) -> str:
    if found.paused_since:
        return f"paused since {found.paused_since}"
    return "no" if found.waiting_bytes is None else "yes"


def _shown(value: float | None, unit: str = "") -> str:
    return "unknown" if value is None else f"{value}{unit}"
