"""What supervisord runs and every file it needs, as plain text. Pure: nothing is written here."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra import identity, prometheus, services
from infra.collector.config import collector_config, render
from infra.collector.placement import Placement
from infra.identity import Login
from infra.secrets import Secrets
from infra.settings import Settings
from infra.warehouse import server
from stacks.home import PROJECT, Home

LIBCHDB_SERVER = PROJECT / "toolchain" / "clickhouse" / "server.py"
TICK = Path(__file__).parent / "tick.sh"
AGAIN = Path(__file__).parent / "again.sh"
_TICK_MINUTES = 10
_LONGEST_WAIT_SECONDS = 10
"""Between two starts of a program that cannot start."""
COLLECTOR_GUARD = PROJECT / "toolchain" / "collector" / "run.py"
DISK_RESERVE_MIB = 256
"""Below this much free disk nothing more is accepted, so that what was accepted can be handled."""
_SOCKET_BYTES = 100
"""Longest path of a unix socket that every system takes (macOS: 104)."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program of this machine."""

    path: Path
    version: str
    origin: str
    """Where it was found, for people."""
    fingerprint: str
    """Changes when the file does."""


@dataclass(frozen=True, kw_only=True)
class Programs:
    """The programs of a stack, and the Python that runs libchdb."""

    collector: Program
    clickhouse: Program
    prometheus: Program | None = None
    """Where settings ask for one of our own."""
    engine: Literal["libchdb", "server"]
    python: Path


@dataclass(frozen=True)
class Layout:
    """Where this stack's files are."""

    home: Home

    @property
    def collector_config(self) -> Path:
        """The collector's YAML."""
        return self.home.run / "collector.yaml"

    @property
    def clickhouse_config(self) -> Path:
        """ClickHouse's config.xml."""
        return self.home.run / "clickhouse.xml"

    @property
    def clickhouse_users(self) -> Path:
        """ClickHouse's users.xml."""
        return self.home.run / "clickhouse-users.xml"

    @property
    def clickhouse_data(self) -> Path:
        """ClickHouse's data."""
        return self.home.data / "clickhouse"

    @property
    def logins(self) -> Path:
        """What the collector checks logins against, where several people share the machine."""
        return self.home.run / "htpasswd"

    @property
    def prometheus_config(self) -> Path:
        """Prometheus' YAML."""
        return self.home.run / "prometheus.yaml"

    @property
    def prometheus_data(self) -> Path:
        """Prometheus' data."""
        return self.home.data / "prometheus"

    @property
    def supervisor_config(self) -> Path:
        """supervisord's own."""
        return self.home.run / "supervisord.conf"

    @property
    def supervisor_pid(self) -> Path:
        """Its process id."""
        return self.home.run / "supervisord.pid"

    @property
    def queue(self) -> Path:
        """The collector's queue."""
        return self.home.queue / "collector"

    @property
    def aside(self) -> Path:
        """Records set aside."""
        return self.home.queue / "aside"

    def socket(self, temporary: Path) -> Path:
        """Where supervisord listens: the state folder, or a short path where that is too long."""
        inside = self.home.run / "supervisord.sock"
        if len(bytes(inside)) <= _SOCKET_BYTES:
            return inside
        short = hashlib.sha256(bytes(self.home.path)).hexdigest()[:16]
        return temporary / f"telemetry-{short}" / "supervisord.sock"


def placement(settings: Settings, layout: Layout, *, shared: bool = False) -> Placement:
    """Where the collector of this stack finds things. `shared`: it asks who sends."""
    return Placement(
        listen="127.0.0.1",
        otlp_http_port=settings.ports.otlp_http,
        otlp_grpc_port=settings.ports.otlp_grpc,
        health_port=settings.ports.health,
        metrics_port=settings.ports.collector_metrics,
        warehouse=f"http://127.0.0.1:{settings.ports.clickhouse_http}",
        prometheus=f"http://127.0.0.1:{settings.ports.prometheus}",
        secrets=str(layout.home.secrets_folder),
        queue=str(layout.queue),
        aside=str(layout.aside),
        logins=str(layout.logins) if shared else "",
    )


def files(
    settings: Settings,
    secrets: Secrets,
    programs: Programs,
    layout: Layout,
    socket: Path,
    *,
    logins: Sequence[Login] = (),
    now: int = 0,
) -> dict[Path, str]:
    """Every rendered file of the stack, by path. `logins`: everybody's, where several people share
    the machine; those that hold at `now` (Unix time)."""
    home = layout.home
    config = collector_config(settings, placement(settings, layout, shared=bool(logins)))
    rendered = {
        layout.collector_config: render(config),
        layout.clickhouse_config: server.embedded_config_xml(
            settings,
            data=str(layout.clickhouse_data),
            users_file=str(layout.clickhouse_users),
            log_folder=str(home.log),
            engine=programs.engine,
        ),
        layout.clickhouse_users: services.users_xml(
            secrets,
            loopback_default=programs.engine == "libchdb",
            logins=[each for each in logins if each.id != secrets.member],
            now=now,
        ),
    }
    if logins:
        rendered[layout.logins] = identity.htpasswd(logins, now)
    if programs.prometheus:
        rendered[layout.prometheus_config] = prometheus.config()
    rendered[layout.supervisor_config] = _supervisor(
        settings, secrets, programs, layout, socket, rendered
    )
    return rendered


def _supervisor(
    settings: Settings,
    secrets: Secrets,
    programs: Programs,
    layout: Layout,
    socket: Path,
    rendered: dict[Path, str],
) -> str:
    home = layout.home
    clickhouse_inputs = (
        rendered[layout.clickhouse_config],
        rendered[layout.clickhouse_users],
        f"{programs.clickhouse.path} {programs.clickhouse.fingerprint}",
    )
    collector_inputs = (
        rendered[layout.collector_config],
        f"{programs.collector.path} {programs.collector.fingerprint}",
        *([rendered[layout.logins]] if layout.logins in rendered else []),
        *services.collector_secrets(secrets).values(),
    )
    return "\n".join(
        [
            _section(
                "supervisord",
                logfile=home.log / "supervisord.log",
                logfile_maxbytes="2MB",
                logfile_backups=1,
                pidfile=layout.supervisor_pid,
                identifier="telemetry",
                umask="077",
                directory=home.path,
            ),
            _section("unix_http_server", file=socket, chmod="0700"),
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n",
            _section("supervisorctl", serverurl=f"unix://{socket}"),
            _program(
                "clickhouse",
                _clickhouse_command(settings, programs, layout),
                home,
                clickhouse_inputs,
                (),
            ),
            _program(
                "collector",
                [
                    programs.python,
                    COLLECTOR_GUARD,
                    "--queue",
                    layout.queue,
                    "--reserve-mib",
                    DISK_RESERVE_MIB,
                    "--pid-file",
                    home.run / "collector.pid",
                    "--",
                    programs.collector.path,
                    "--config",
                    layout.collector_config,
                ],
                home,
                collector_inputs,
                services.collector_environment(settings),
            ),
            *_prometheus(settings, programs, layout),
            _section(
                "eventlistener:again",
                command=_command(
                    "/bin/sh",
                    AGAIN,
                    PROJECT / ".venv" / "bin" / "supervisorctl",
                    layout.supervisor_config,
                ),
                events="PROCESS_STATE_FATAL",
                autorestart="true",
                startretries=1_000_000,
                stderr_logfile=home.log / "again.log",
                stderr_logfile_maxbytes="1MB",
                stderr_logfile_backups=1,
            ),
            _program(
                "tick",
                ["/bin/sh", TICK, PROJECT / ".venv" / "bin" / "telemetry", _TICK_MINUTES],
                home,
                (str(_TICK_MINUTES),),
                (("TELEMETRY_HOME", str(home.path)),),
                # What it has just called ends with it.
                stopasgroup="true",
                killasgroup="true",
            ),
        ]
    )


def _prometheus(settings: Settings, programs: Programs, layout: Layout) -> list[str]:
    """Its section, where there is one. Its flags are part of the section as it is."""
    program = programs.prometheus
    if program is None:
        return []
    flags = prometheus.flags(
        settings,
        config_file=str(layout.prometheus_config),
        data=str(layout.prometheus_data),
        listen=f"127.0.0.1:{settings.ports.prometheus}",
    )
    inputs = (prometheus.config(), f"{program.path} {program.fingerprint}")
    return [
        _program(
            "prometheus",
            [program.path, *flags],
            layout.home,
            inputs,
            prometheus.environment(settings),
        )
    ]


def _clickhouse_command(
    settings: Settings, programs: Programs, layout: Layout
) -> list[Path | str | int]:
    if programs.engine == "server":
        return [programs.clickhouse.path, "server", f"--config-file={layout.clickhouse_config}"]
    return [
        programs.python,
        LIBCHDB_SERVER,
        "--lib",
        programs.clickhouse.path,
        "--config",
        layout.clickhouse_config,
        "--path",
        layout.clickhouse_data,
        "--port",
        settings.ports.clickhouse_http,
    ]


def _program(
    name: str,
    command: list[Path | str | int],
    home: Home,
    inputs: tuple[str, ...],
    environment: tuple[tuple[str, str], ...],
    **options: object,
) -> str:
    """A supervised program. What it depends on is hashed into its section, so that supervisord sees
    by itself which programs a change of configuration concerns, and restarts only those."""
    fingerprint = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
    variables = (*environment, ("TELEMETRY_CONFIGURATION", fingerprint))
    return _section(
        f"program:{name}",
        command=_command(*command),
        environment=",".join(f'{key}="{value}"' for key, value in variables),
        autostart="false",
        autorestart="true",
        # Each time a second later. Then it is given up, and `again` begins anew, because a full
        # disk is freed some day.
        startretries=_LONGEST_WAIT_SECONDS,
        startsecs=1,
        stopwaitsecs=30,
        stdout_logfile=home.log / f"{name}.log",
        stdout_logfile_maxbytes="10MB",
        stdout_logfile_backups=2,
        redirect_stderr="true",
        **options,
    )


def _command(*words: Path | str | int) -> str:
    return " ".join(shlex.quote(str(word)) for word in words)


def _section(title: str, **options: object) -> str:
    """An INI section; `%` starts an expansion in supervisord's files."""
    lines = [f"{key} = {str(value).replace('%', '%%')}" for key, value in options.items()]
    return "\n".join([f"[{title}]", *lines, ""])
