"""`telemetry up`: from a clone to events in ClickHouse, on this machine, without Docker.

Every step can be repeated: what stands as it should is left alone, and a change of configuration
restarts only what it concerns.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from infra import prometheus
from infra.secrets import Secrets
from infra.settings import Settings
from infra.warehouse import migrations
from scripts import canary, counters, engine, member, ports, supervise, toolchain, verify, warehouse
from scripts.console import say, step
from scripts.errors import Failure
from stacks import stores
from stacks.embedded.processes import Layout, Programs, files
from stacks.home import Home, write_private

_MINIMUM_FREE = 1024**3
_START_SECONDS = 60
_PATIENCE_SECONDS = 60
"""The collector may wait 45 s before it tries a batch again."""
_FEW_BYTES = 4 * 1024**2
"""What a collector at work has waiting."""


@dataclass
class Report:
    """What `up` did. Seconds."""

    changes: list[str] = field(default_factory=list)
    verdict: verify.Verdict | None = None
    canary: canary.Verdict | None = None
    paused: bool = False
    seconds: float = 0


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """One `up` or `down` at a time; a second one waits for the first."""
    with (home.run / "up.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another `telemetry up` or `down` is at work; waiting for it to end.")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def up(settings: Settings, home: Home) -> Report:
    """Bring the embedded stack to what the settings say. Raises Failure with the mend."""
    began = time.monotonic()
    home.prepare()
    with locked(home):
        report = _up(settings, home)
    report.seconds = time.monotonic() - began
    return report


def _up(settings: Settings, home: Home) -> Report:
    report = Report(paused=home.paused.exists())
    _refuse_beside_containers(settings, home)
    secrets = home.secrets()
    write_private(home.secrets_folder / "netrc", _netrc(secrets))
    programs = toolchain.programs(settings)
    layout = Layout(home)
    _refuse_older(programs, layout)
    supervisor = supervise.Supervisor(layout)
    alive = supervisor.alive()
    if not alive:
        _refuse_little_room(home)
        for pid in supervise.end_orphans(layout):
            report.changes.append(f"stopped process {pid}, left over from a killed supervisord")
    ports.refuse_taken(settings, supervisor.ports())
    report.changes += _write(settings, secrets, programs, layout, supervise.socket(layout))
    if alive:
        report.changes += [f"restarted {name}" for name in supervisor.reload()]
    else:
        stores.forget_rows(home)
        supervisor.start()
        report.changes.append("started supervisord")
    _start(settings, secrets, supervisor, report)
    write_private(layout.home.data / "written-by", programs.clickhouse.version)
    verified = home.run / "verified"
    if report.changes:
        verified.unlink(missing_ok=True)
    if not report.paused and not verified.exists():
        _deliver(settings)
        with step("Verifying with a recorded session"):
            authorization = member.own_authorization(settings, home)
            report.verdict = verify.verify(settings, secrets, authorization)
        with step("Looking for made-up secrets"):
            report.canary = canary.canary(settings, home)
        if report.verdict.well and report.canary.well:
            write_private(verified, "")
    return report


def logins_lapsed(settings: Settings, home: Home) -> bool:
    """Whether a credential has ended since the programs were told who may log in."""
    layout = Layout(home)
    told = [file.stat().st_mtime for file in (layout.logins, layout.clickhouse_users)
            if file.exists()]  # fmt: skip
    ends = [
        one.until
        for each in member.sharing(settings, home)
        for one in (*each.query, *each.ingest)
        if one.until
    ]
    return any(max(told, default=time.time()) < end <= time.time() for end in ends)


def _start(
    settings: Settings, secrets: Secrets, supervisor: supervise.Supervisor, report: Report
) -> None:
    if supervisor.run("clickhouse"):
        report.changes.append("started clickhouse")
    _wait("clickhouse", f"{warehouse.url(settings)}/ping", supervisor)
    try:
        report.changes += warehouse.migrate(warehouse.as_admin(settings, secrets), settings)
    except migrations.SchemaError as error:
        raise Failure(f"Schema: {error}") from None
    if settings.own_prometheus:
        if supervisor.run("prometheus"):
            report.changes.append("started prometheus")
        address = f"http://127.0.0.1:{settings.ports.prometheus}{prometheus.READY}"
        _wait("prometheus", address, supervisor)
    if report.paused:
        supervisor.halt("collector")
        return
    if supervisor.run("collector"):
        report.changes.append("started collector")
    _wait("collector", f"http://127.0.0.1:{settings.ports.health}/", supervisor)
    supervisor.run("tick")


def _deliver(settings: Settings) -> None:
    """Wait for what waited, as long as it gets less: a self-test stands behind all of it."""

    def waiting() -> int:
        found = counters.queues(counters.samples(settings))
        return sum(each.bytes for each in found.values())

    least = waiting()
    if least < _FEW_BYTES:
        return
    with step(f"Delivering {least // 1024**2} MiB that waited"):
        end = time.monotonic() + _PATIENCE_SECONDS
        while least >= _FEW_BYTES and time.monotonic() < end:
            time.sleep(0.5)
            now = waiting()
            if now < least:
                least, end = now, time.monotonic() + _PATIENCE_SECONDS


def _wait(name: str, address: str, supervisor: supervise.Supervisor) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if warehouse.answers(address):
            return
        state = supervisor.states().get(name)
        if state is not None and state.state == "FATAL":
            break
        time.sleep(0.1)
    log = supervise.log_file(supervisor.layout, name)
    raise Failure(
        f"{name} does not answer at {address} after {_START_SECONDS} s. The end of {log}:\n"
        + supervise.log_end(log)
    )


def _write(
    settings: Settings, secrets: Secrets, programs: Programs, layout: Layout, socket: Path
) -> list[str]:
    """Write the rendered files that changed, once the collector has accepted its own."""
    logins = member.sharing(settings, layout.home)
    if logins and programs.engine == "libchdb":
        raise Failure(f"Others have logins on this machine. {member.LIBRARY}")
    rendered = files(
        settings, secrets, programs, layout, socket, logins=logins, now=int(time.time())
    )
    if not logins:
        layout.logins.unlink(missing_ok=True)
    changed = [
        path for path, text in rendered.items() if not path.exists() or path.read_text() != text
    ]
    if layout.collector_config in changed:
        trial = layout.home.run / "collector.trial.yaml"
        write_private(trial, rendered[layout.collector_config])
        done = subprocess.run(
            [programs.collector.path, "validate", "--config", trial],
            capture_output=True,
            text=True,
            timeout=60,
        )
        trial.unlink()
        if done.returncode != 0:
            raise Failure(
                f"The collector refuses its new configuration, the old one stays:\n{done.stderr}"
            )
    for path in changed:
        write_private(path, rendered[path])
    return [f"wrote {path.name}" for path in changed]


def _refuse_beside_containers(settings: Settings, home: Home) -> None:
    """Containers of this member hold rows, or may: the engine alone knows whether they still do."""
    for stack in [] if settings.stores.keep_both else stores.stacks(home):
        volume = stores.volume(stack)
        try:
            held = volume in engine.ask(settings.docker.host, "volume", "ls", "--quiet")
            why = f"holds the rows of the Pulumi stack {stack!r} in the volume {volume}"
        except engine.EngineAbsentError as error:
            held = True
            why = f"may hold the rows of the Pulumi stack {stack!r}, and cannot be asked: {error}"
        if held:
            raise Failure(
                f"The container engine {why}. Plain processes would begin with an empty store "
                f"beside it. {stores.KEEP} To go on with the containers: `pulumi up -s {stack}`. "
                "To delete what they hold: docs/PULUMI.md, at its end."
            )
        stores.forget_containers(home, stack)


def _refuse_older(programs: Programs, layout: Layout) -> None:
    """ClickHouse does not promise to read what a newer version wrote."""
    note = layout.home.data / "written-by"
    if not note.exists():
        return
    wrote = note.read_text(encoding="utf-8").strip()
    if _order(programs.clickhouse.version) < _order(wrote):
        raise Failure(
            f"The data was written by ClickHouse {wrote}; {programs.clickhouse.path} is the older "
            f"{programs.clickhouse.version}. Name a newer one in settings.yaml "
            "(programs.clickhouse)."
        )


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _refuse_little_room(home: Home) -> None:
    free = shutil.disk_usage(home.path).free
    if free < _MINIMUM_FREE:
        raise Failure(
            f"Only {free // 1024**2} MiB are free at {home.path}; at least 1 GiB is needed. Free "
            "some, or set TELEMETRY_HOME to a folder on another disk."
        )


def _netrc(secrets: Secrets) -> str:
    """For curl: `curl --netrc-file FILE`, so that no password stands on a command line."""
    return f"machine 127.0.0.1 login {secrets.member} password {secrets.member_password}\n"
