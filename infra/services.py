"""The services that make up a stack, described once as plain data.

`stacks/local` turns each into a container; the cloud's machine turns them into units. What runs as
plain processes (`stacks/embedded`) renders the same configuration with other addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from infra import identity, prometheus, versions
from infra.collector.config import collector_config, render
from infra.collector.placement import Placement
from infra.edge import caddy
from infra.identity import Hash, Login
from infra.secrets import Secrets
from infra.settings import Settings
from infra.warehouse import access, migrations, names, scale, server
from infra.warehouse.xml import document

USER = "101:101"
"""`clickhouse` in its image. Containers run as it, so the folders of the volumes fit."""

CLICKHOUSE = "clickhouse"
COLLECTOR = "collector"
SCHEMA = "schema"
PROMETHEUS = "prometheus"
QUEUE_OWNER = "queue-owner"
EDGE = "edge"

RUN, DISK = "@RUN@", "@DISK@"
"""On the cloud's machine: what is gone with a restart (secrets too), and the data disk."""
EDGE_LOG = "@EDGE_LOG@"
"""A folder with a name that nobody guesses: ClickHouse reads the edge's log from it, and would read
it to whoever knows the name (infra/warehouse/ddl/0013_access_log.sql)."""
NETWORK = "172.30.77.0/24"
ADDRESSES = {
    EDGE: "172.30.77.2",
    CLICKHOUSE: "172.30.77.3",
    COLLECTOR: "172.30.77.4",
    SCHEMA: "172.30.77.5",
}
"""In the network of the cloud's machine, so that ClickHouse knows from where who may log in."""
EDGE_CONFIG, EDGE_ADMIN = "/etc/caddy/caddy.json", "/run/caddy/admin"
"""In the container of the edge: its configuration, and the socket to reload it by."""

_SECRETS = "/etc/otelcol-contrib/secrets"
_LOGINS = f"{_SECRETS}/htpasswd"
_STATE = "/var/lib/otelcol"
_OTLP_HTTP, _OTLP_GRPC, _HEALTH, _METRICS, _CLICKHOUSE_HTTP = 4318, 4317, 13133, 8888, 8123
_PROMETHEUS = 9090
_OTLP_TOKENS, _HTTPS, _HTTP = 4319, 8443, 8080
_EDGE_MIB, _EDGE_CPUS = 256, 1.0


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that a container finds at `path`."""

    path: str
    text: str = field(repr=False)
    secret: bool = False
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port published on the machine's loopback address; on the cloud's machine, on all."""

    machine: int
    container: int


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A folder of the cloud's machine in a container. Never a single file: one that is replaced
    would stay what it was."""

    machine: str
    """Below RUN or DISK."""
    container: str
    read_only: bool = True


@dataclass(frozen=True, kw_only=True)
class Health:
    """How a container shows that it is well. Seconds."""

    command: tuple[str, ...]
    interval: int = 5
    timeout: int = 5
    retries: int = 12
    start_period: int = 10
    wait: int = 120
    """How long `up` waits for it."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One container, whoever runs it."""

    name: str
    image: str
    memory_mib: int
    cpus: float
    user: str = USER
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    files: tuple[File, ...] = ()
    ports: tuple[Port, ...] = ()
    volumes: tuple[tuple[str, str], ...] = ()
    """(volume, path) pairs."""
    scratch: tuple[str, ...] = ()
    """Paths kept in memory, lost at a restart."""
    after: tuple[str, ...] = ()
    """Services that must have been started (or have ended, for a one-shot) before."""
    health: Health | None = None
    one_shot: bool = False
    stop_seconds: int = 10


@dataclass(frozen=True, kw_only=True)
class MachineService(Service):
    """One container on the cloud's machine."""

    mounts: tuple[Mount, ...]
    """Instead of `volumes`; `files` lie in them."""
    capabilities: tuple[str, ...] = ()
    """Those that it keeps."""


def services(
    settings: Settings, secrets: Secrets, *, logins: Sequence[Login] = (), now: int = 0
) -> tuple[Service, ...]:
    """All services in the order they start. `logins`: everybody's, where several people share the
    machine; those that hold at `now` (Unix time)."""
    return (
        _clickhouse(settings, secrets, logins, now),
        *((_prometheus(settings),) if settings.own_prometheus else ()),
        _queue_owner(settings),
        _collector(settings, secrets, logins, now),
        _schema(settings, secrets),
    )


def volumes(settings: Settings) -> tuple[str, ...]:
    """Volumes that hold what must not be lost."""
    found = ("clickhouse-data", "collector-queue")
    return (*found, "prometheus-data") if settings.own_prometheus else found


def _clickhouse_image(settings: Settings) -> str:
    return settings.images.clickhouse or versions.CLICKHOUSE_IMAGE


def _clickhouse(
    settings: Settings, secrets: Secrets, logins: Sequence[Login] = (), now: int = 0
) -> Service:
    others = [each for each in logins if each.id != secrets.member]
    return Service(
        name=CLICKHOUSE,
        image=_clickhouse_image(settings),
        memory_mib=settings.limits.clickhouse_memory_mib,
        cpus=settings.limits.clickhouse_cpus,
        # The image would otherwise write a user of its own beside ours.
        environment=(("CLICKHOUSE_SKIP_USER_SETUP", "1"),),
        files=(
            File(
                path="/etc/clickhouse-server/config.d/telemetry.xml",
                text=server.image_config_xml(settings),
            ),
            File(
                path="/etc/clickhouse-server/users.d/telemetry.xml",
                text=users_xml(secrets, loopback_default=False, logins=others, now=now),
                secret=True,
            ),
        ),
        ports=(Port(machine=settings.ports.clickhouse_http, container=_CLICKHOUSE_HTTP),),
        volumes=(("clickhouse-data", "/var/lib/clickhouse"),),
        health=Health(
            command=("wget", "-q", "-O", "-", f"http://127.0.0.1:{_CLICKHOUSE_HTTP}/ping")
        ),
        stop_seconds=30,
    )


def _prometheus(settings: Settings) -> Service:
    """As its image's own user, to whom the volume belongs. Nobody waits for it but `up`."""
    config_file = "/etc/prometheus/prometheus.yml"
    return Service(
        name=PROMETHEUS,
        image=settings.images.prometheus or versions.PROMETHEUS_IMAGE,
        memory_mib=settings.prometheus.memory_mib,
        cpus=settings.limits.collector_cpus,
        user="65534:65534",
        command=prometheus.flags(
            settings, config_file=config_file, data="/prometheus", listen=f"0.0.0.0:{_PROMETHEUS}"
        ),
        environment=prometheus.environment(settings),
        files=(File(path=config_file, text=prometheus.config()),),
        ports=(Port(machine=settings.ports.prometheus, container=_PROMETHEUS),),
        volumes=(("prometheus-data", "/prometheus"),),
        health=Health(
            command=("wget", "-q", "-O", "-", f"http://127.0.0.1:{_PROMETHEUS}{prometheus.READY}")
        ),
        stop_seconds=30,
    )


def _queue_owner(settings: Settings) -> Service:
    """Gives the queue's volume to USER.

    An engine fills an empty volume with what the image has at that path, ownership included. The
    collector's image has nothing there (it is one program), so its volume would belong to root.
    """
    return Service(
        name=QUEUE_OWNER,
        image=_clickhouse_image(settings),
        memory_mib=settings.limits.schema_memory_mib,
        cpus=settings.limits.collector_cpus,
        entrypoint=("/bin/true",),
        volumes=(("collector-queue", "/var/lib/clickhouse"),),
        one_shot=True,
    )


def _placement() -> Placement:
    """Where a collector in a container finds things."""
    return Placement(
        listen="0.0.0.0",
        otlp_http_port=_OTLP_HTTP,
        otlp_grpc_port=_OTLP_GRPC,
        health_port=_HEALTH,
        metrics_port=_METRICS,
        warehouse=f"http://{CLICKHOUSE}:{_CLICKHOUSE_HTTP}",
        prometheus=f"http://{PROMETHEUS}:{_PROMETHEUS}",
        secrets=_SECRETS,
        queue=f"{_STATE}/queue",
        aside=f"{_STATE}/aside",
    )


def _collector(
    settings: Settings, secrets: Secrets, logins: Sequence[Login] = (), now: int = 0
) -> Service:
    placement = replace(_placement(), logins=_LOGINS if logins else "")
    ports = settings.ports
    return Service(
        name=COLLECTOR,
        image=settings.images.collector or versions.COLLECTOR_IMAGE,
        memory_mib=settings.limits.collector_memory_mib,
        cpus=settings.limits.collector_cpus,
        command=("--config", "/etc/otelcol-contrib/config.yaml"),
        environment=collector_environment(settings),
        files=(
            File(
                path="/etc/otelcol-contrib/config.yaml",
                text=render(collector_config(settings, placement)),
            ),
            *(
                File(path=f"{_SECRETS}/{name}", text=value, secret=True)
                for name, value in collector_secrets(secrets).items()
            ),
            *(
                [File(path=_LOGINS, text=identity.htpasswd(logins, now), secret=True)]
                if logins
                else []
            ),
        ),
        ports=(
            Port(machine=ports.otlp_http, container=_OTLP_HTTP),
            Port(machine=ports.otlp_grpc, container=_OTLP_GRPC),
            Port(machine=ports.health, container=_HEALTH),
            Port(machine=ports.collector_metrics, container=_METRICS),
        ),
        volumes=(("collector-queue", _STATE),),
        # Before Prometheus when they end, so that it takes what the collector still holds.
        after=(CLICKHOUSE, *((PROMETHEUS,) if settings.own_prometheus else ()), QUEUE_OWNER),
        stop_seconds=30,
    )


def _schema(settings: Settings, secrets: Secrets) -> Service:
    """Applies the pending schema files, then stays as the health probe of the whole stack."""
    login = f"http_user = {names.ADMIN_USER}\nhttp_password = {secrets.admin_password}\n"
    return Service(
        name=SCHEMA,
        image=_clickhouse_image(settings),
        memory_mib=settings.limits.schema_memory_mib,
        cpus=settings.limits.collector_cpus,
        entrypoint=("/bin/sh", "/schema/runner.sh"),
        command=("stay",),
        environment=(
            ("CLICKHOUSE_URL", f"http://{CLICKHOUSE}:{_CLICKHOUSE_HTTP}"),
            ("COLLECTOR_HEALTH_URL", f"http://{COLLECTOR}:{_HEALTH}/"),
        ),
        files=(
            File(path="/schema/runner.sh", text=migrations.RUNNER.read_text(encoding="utf-8")),
            *(
                File(path=f"/schema/ddl/{file.name}", text=file.text)
                for file in migrations.migrations()
            ),
            File(path="/schema/retention.tsv", text=migrations.retention_table(settings)),
            File(path="/schema/views.tsv", text=migrations.views_table(settings)),
            File(path="/schema/wgetrc", text=login, secret=True),
        ),
        # The image declares a volume here; without this every run would leave one behind.
        scratch=("/var/lib/clickhouse",),
        after=(CLICKHOUSE, COLLECTOR),
        health=Health(command=("/bin/sh", "/schema/runner.sh", "probe"), interval=10, retries=6),
    )


def cloud_services(settings: Settings) -> tuple[MachineService, ...]:
    """All services of the cloud's machine, in the order they start.

    Of `files`, those that hold secrets are missing: the machine writes them (infra/host/apply.sh).
    """
    nobody = Secrets(
        member="", admin_password="", ingest_password="", member_password="", pseudonym_key=""
    )
    store = settings.scale.store
    found = (
        *(
            (_cloud_clickhouse(_clickhouse(settings, nobody), settings),)
            if store == "machine"
            else ()
        ),
        # Of a cluster, whoever runs it applies the schema, once a shard (`telemetry scale`).
        *((_cloud_schema(_schema(settings, nobody), settings),) if store != "cluster" else ()),
        _cloud_collector(_collector(settings, nobody), settings),
        _edge(settings),
    )
    there = [each.name for each in found]
    return tuple(
        replace(each, after=tuple(name for name in each.after if name in there)) for each in found
    )


_QUIET = {
    # These write down queries that failed, which are nobody else's: the log goes to Google. The
    # access audit has them.
    "logger": {
        "levels": {
            "logger": [
                {"name": name, "level": "none"}
                for name in ("executeQuery", "DynamicQueryHandler", "PredefinedQueryHandler")
            ]
        }
    }
}


def _on_machine(service: Service, **changes: Any) -> MachineService:
    same = {each.name: getattr(service, each.name) for each in fields(service)}
    return MachineService(**{**same, **changes})


def _cloud_clickhouse(service: Service, settings: Settings) -> MachineService:
    folder = "/etc/clickhouse-server"
    return _on_machine(
        service,
        files=(
            File(
                path=f"{folder}/config.d/telemetry.xml",
                text=server.image_config_xml(settings, behind_edge=True),
            ),
            File(path=f"{folder}/config.d/quiet.xml", text=document(_QUIET)),
        ),
        ports=(Port(machine=_CLICKHOUSE_HTTP, container=_CLICKHOUSE_HTTP),),
        volumes=(),
        mounts=(
            *(
                Mount(machine=f"{RUN}/config/clickhouse/{name}", container=f"{folder}/{name}")
                for name in ("config.d", "users.d")
            ),
            Mount(machine=f"{DISK}/clickhouse", container="/var/lib/clickhouse", read_only=False),
            # From where the access log of the edge is read.
            Mount(machine=f"{DISK}/edge-log", container="/var/lib/clickhouse/user_files/edge"),
        ),
        scratch=("/tmp", "/var/log/clickhouse-server"),
    )


def _cloud_schema(service: Service, settings: Settings) -> MachineService:
    """Applies what is pending and ends: nobody watches it there."""
    found = {f"/schema/ddl/{name}": text for name, text in scale.schema_files(settings).items()}
    return _on_machine(
        service,
        command=("apply",),
        environment=(("CLICKHOUSE_URL", scale.endpoint(settings, _placement().warehouse)),),
        files=tuple(
            replace(file, text=found.get(file.path, file.text))
            for file in service.files
            if not file.secret
        ),
        mounts=(Mount(machine=f"{RUN}/config/schema", container="/schema"),),
        scratch=(*service.scratch, "/tmp"),
        after=(CLICKHOUSE,),
        health=None,
        one_shot=True,
    )


def _cloud_collector(service: Service, settings: Settings) -> MachineService:
    folder = "/etc/otelcol-contrib"
    placement = replace(
        _placement(),
        warehouse=scale.endpoint(settings, _placement().warehouse),
        database=scale.database(settings),
        logins=_LOGINS,
        oidc_port=_OTLP_TOKENS,
        oidc_keys=f"{_SECRETS}/oidc-keys.json",
    )
    config = render(collector_config(settings, placement))
    return _on_machine(
        service,
        files=(File(path=f"{folder}/config.yaml", text=config),),
        ports=(),
        volumes=(),
        mounts=(
            Mount(machine=f"{RUN}/config/collector", container=folder),
            Mount(machine=f"{DISK}/queue", container=_STATE, read_only=False),
        ),
        after=(CLICKHOUSE, SCHEMA),
    )


def _edge(settings: Settings) -> MachineService:
    folder, data, log, run = "/etc/caddy", "/data", "/var/log/caddy", "/run/caddy"
    placement = caddy.Placement(
        listen=f":{_HTTPS}",
        listen_plain=f":{_HTTP}",
        ingest=f"{COLLECTOR}:{_OTLP_HTTP}",
        ingest_tokens=f"{COLLECTOR}:{_OTLP_TOKENS}",
        health=f"{COLLECTOR}:{_HEALTH}",
        warehouse=scale.endpoint(settings, _placement().warehouse),
        secrets=f"{folder}/secrets",
        data=data,
        log=f"{log}/{EDGE_LOG}",
        admin=EDGE_ADMIN,
    )
    return MachineService(
        name=EDGE,
        image=settings.images.edge or versions.EDGE_IMAGE,
        memory_mib=_EDGE_MIB,
        cpus=_EDGE_CPUS,
        entrypoint=("caddy",),
        command=("run", "--config", EDGE_CONFIG),
        environment=(("GOMEMLIMIT", f"{_EDGE_MIB * 8 // 10}MiB"), ("HOME", run)),
        files=(File(path=EDGE_CONFIG, text=caddy.render(caddy.config(settings, placement))),),
        ports=(
            Port(machine=443, container=_HTTPS),
            *((Port(machine=80, container=_HTTP),) if settings.edge.acme else ()),
        ),
        mounts=(
            Mount(machine=f"{RUN}/config/edge", container=folder),
            Mount(machine=f"{DISK}/caddy", container=data, read_only=False),
            Mount(machine=f"{DISK}/edge-log", container=log, read_only=False),
        ),
        scratch=(run,),
        after=(COLLECTOR,),
        # The image's program has it as a file capability, and does not start where it is not to be
        # had; the ports it listens on would not need it.
        capabilities=("NET_BIND_SERVICE",),
        stop_seconds=15,
    )


def watched() -> dict[str, str]:
    """Where the services answer on the cloud's machine, by what watch.sh calls it."""
    collector = f"http://{ADDRESSES[COLLECTOR]}"
    return {
        "CLICKHOUSE_PING": f"http://{ADDRESSES[CLICKHOUSE]}:{_CLICKHOUSE_HTTP}/ping",
        "COLLECTOR_HEALTH": f"{collector}:{_HEALTH}/",
        "COLLECTOR_METRICS": f"{collector}:{_METRICS}/metrics",
        "EDGE_ADDRESS": f"{ADDRESSES[EDGE]}:{_HTTPS}",
    }


def collector_environment(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Go collects garbage by what memory there is, well before `memory_limiter` would refuse."""
    return (
        ("GOGC", "400"),
        ("GOMEMLIMIT", f"{settings.limits.collector_memory_mib * 5 // 8}MiB"),
    )


def collector_secrets(secrets: Secrets) -> dict[str, str]:
    """Secret files the collector's configuration refers to (Placement.secret)."""
    return {
        "member": secrets.member,
        "clickhouse-ingest": secrets.ingest_password,
        "pseudonym-key": secrets.pseudonym_key,
    }


def users_xml(
    secrets: Secrets, *, loopback_default: bool, logins: Sequence[Login] = (), now: int = 0
) -> str:
    """ClickHouse's users for a member's machine: its member, and further logins (at Unix time
    `now`) where others ask there too. Raises ValueError for such logins on libchdb."""
    if loopback_default and logins:
        raise ValueError(
            "ClickHouse as a library opens the files of its owner to everyone who may ask it "
            "something (the function file()), so it has one login. Others can have logins where "
            "ClickHouse is a server of its own: `make local`."
        )
    member = Login(id=secrets.member, query=(Hash(access.password_hash(secrets.member_password)),))
    return access.expand(
        access.templates(
            loopback_default=loopback_default,
            alone=not any(each.role == "member" for each in logins),
        ),
        (member, *logins),
        now=now,
        admin=access.password_hash(secrets.admin_password),
        ingest=access.password_hash(secrets.ingest_password),
    )
