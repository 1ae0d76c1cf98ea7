"""What an operator or a member may choose: the only reader of configuration.

Layers, later wins: the defaults below < `Pulumi.yaml` (`config:` defaults) < `Pulumi.<stack>.yaml`
(the team's, committed) < `$TELEMETRY_HOME/settings.yaml` (this member's own). Keys live under
`telemetry:`. A value that breaks a rule is refused before anything is made, and the message carries
the value, the rule and the command that mends it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from infra.collector import rules

PROJECT = "telemetry"
HYPERDISK_ONLY = ("c4-", "c4a-", "c4d-", "n4-", "n4a-")
"""How machine types begin that take no persistent disk."""

Stack = Literal["embedded", "local", "cloud"]
Backend = Literal["clickhouse", "prometheus", "both"]
Port = Annotated[int, Field(ge=1, le=65535)]
Days = Annotated[int, Field(ge=1, le=730)]


class SettingsError(ValueError):
    """A setting breaks a rule; the text says which, why and how to mend it."""


class _Group(BaseModel):
    """Immutable, camelCase outside, and no key that nobody reads."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        # `pulumi config set --path` writes a team or chapter such as 42 as a number.
        coerce_numbers_to_str=True,
    )


class Ports(_Group):
    """Ports on 127.0.0.1, the same whichever stack runs."""

    otlp_http: Port = Field(4318, description="OTLP/HTTP, where Claude Code sends")
    otlp_grpc: Port = Field(4317, description="OTLP/gRPC")
    clickhouse_http: Port = Field(8123, description="ClickHouse over HTTP, where people ask")
    health: Port = Field(13133, description="the collector's health answer")
    collector_metrics: Port = Field(8888, description="the collector's own metrics")
    prometheus: Port = Field(9090, description="Prometheus, where `backend` asks for our own")

    @model_validator(mode="after")
    def _distinct(self) -> Ports:
        taken: dict[int, str] = {}
        for name, port in self.model_dump(by_alias=True).items():
            if port in taken:
                message = f"{taken[port]} and {name} are both {port}; every port must differ"
                raise ValueError(message)
            taken[port] = name
        return self


class Retention(_Group):
    """Days a row is kept, counted from the event's own time."""

    events_days: Days = Field(90, description="raw events (telemetry_events)")
    metrics_days: Days = Field(90, description="metric points")
    content_days: Annotated[int, Field(ge=1, le=90)] = Field(
        14, description="texts (event_content), where `content` keeps any"
    )


class Backup(_Group):
    """Backups: `telemetry backup`, or by `telemetry tick` when they are due."""

    days: Annotated[int, Field(ge=1, le=21)] = Field(
        21,
        description="days a backup is kept; no more, because what is purged must be gone from "
        "backups too within 30 days",
    )
    every_days: Annotated[int, Field(ge=0, le=21)] = Field(
        0, description="days from one backup to the next; 0 means: only when you ask for one"
    )
    to: str = Field(
        "",
        description="folder, `s3://bucket/folder` or `gs://bucket/folder`; empty means `backups` "
        "in the state folder, which is lost with its disk",
    )
    encrypt: bool = Field(
        False, description="encrypt in a folder too; in a bucket a backup always is"
    )

    @field_validator("to")
    @classmethod
    def _place(cls, value: str) -> str:
        bucket = re.fullmatch(r"(s3|gs)://[a-z0-9][a-z0-9._-]*(/[^\s?#@:]*)?", value)
        if value and not bucket and ("://" in value or not value.startswith(("/", "~"))):
            raise ValueError("write a folder from / on, s3://bucket/folder or gs://bucket/folder")
        return value


class Limits(_Group):
    """Memory (MiB) and CPUs each service may use, and what the store may take. The defaults
    together stay within 2 GB of memory."""

    clickhouse_memory_mib: int = Field(1536, ge=1024, le=1_048_576, description="ClickHouse")
    collector_memory_mib: int = Field(384, ge=192, le=65_536, description="the collector")
    schema_memory_mib: int = Field(64, ge=32, le=1024, description="schema runner and health probe")
    clickhouse_cpus: float = Field(2.0, ge=0.25, le=256, description="CPUs of ClickHouse")
    collector_cpus: float = Field(1.0, ge=0.25, le=256, description="CPUs of the collector")
    store_gib: float = Field(
        100.0,
        ge=0.0001,
        le=1_048_576,
        description="GiB that ClickHouse may store; at the limit the oldest events go first",
    )


class Sampling(_Group):
    """Of how many sessions all events are kept. Requests and errors are kept of every session, so
    costs stay exact; other totals are estimates."""

    ratio: float = Field(1.0, ge=0.001, le=1, description="share of sessions, 1 for all of them")


class Queue(_Group):
    """The collector's queue on disk: what waits while ClickHouse is away."""

    max_mib: int = Field(
        1024, ge=64, le=1_048_576, description="MiB of telemetry a signal may queue"
    )
    fsync: bool = Field(
        True,
        description="sync each accepted request to disk: survives a power cut, not only a kill",
    )


_IMAGE = re.compile(
    r"^[a-z0-9][a-z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*)(@sha256:[0-9a-f]{64})?$"
)
_DIGEST_ONLY = re.compile(r"^[a-z0-9][a-z0-9._/:-]*@sha256:[0-9a-f]{64}$")


class Images(_Group):
    """Container images; empty means the one pinned in infra/versions.py."""

    clickhouse: str = Field("", description="image with an exact tag or a digest")
    collector: str = Field("", description="image with an exact tag or a digest")
    prometheus: str = Field("", description="image with an exact tag or a digest")
    edge: str = Field("", description="image with an exact tag or a digest (`cloud` only)")

    @field_validator("clickhouse", "collector", "prometheus", "edge")
    @classmethod
    def _exact(cls, value: str) -> str:
        if value and not (_IMAGE.match(value) or _DIGEST_ONLY.match(value)):
            raise ValueError("name an exact tag or a digest, as in name:1.2.3 or name@sha256:...")
        if value.endswith(":latest"):
            raise ValueError("`latest` names another program every week; name an exact tag")
        return value


class Programs(_Group):
    """Programs of this machine for `embedded`; empty means: look on the PATH, else build."""

    clickhouse: str = Field("", description="path of a `clickhouse` program, 26.3 or newer")
    collector: str = Field("", description="path of an `otelcol-contrib` of the pinned minor")
    prometheus: str = Field("", description="path of a `prometheus` program, 2.40 or newer")


class Docker(_Group):
    """How the `local` stack reaches the container engine."""

    host: str = Field(
        "",
        description="engine address such as unix:///run/user/1000/podman/podman.sock; "
        "empty means DOCKER_HOST, else the usual socket",
    )


class Budget(_Group):
    """What a month may cost, for `telemetry query budget` and the reports."""

    monthly_usd: int = Field(0, ge=0, le=10_000_000, description="USD a month; 0 means none is set")


class Prometheus(_Group):
    """Where metrics go besides, or instead: only with another `backend` than `clickhouse`."""

    url: str = Field(
        "",
        description="remote-write address of a Prometheus that you have, such as "
        "https://prometheus.example/api/v1/write; empty means: run one of our own",
    )
    retention_days: Days = Field(90, description="days our own keeps samples")
    memory_mib: int = Field(256, ge=128, le=65_536, description="MiB our own may use")

    @field_validator("url")
    @classmethod
    def _plain(cls, value: str) -> str:
        # It stands in rendered files and in `status`.
        if value and not re.fullmatch(r"https?://[^\s/@?#$]+/[^\s@?#$]+", value):
            raise ValueError("write http(s)://host/path, without user, password or parameters")
        return value


class Stores(_Group):
    """Plain processes and containers have a store each; rows do not move by themselves."""

    keep_both: bool = Field(
        False, description="start although the other way of running holds rows of yours"
    )


class Chapters(_Group):
    """How a chapter is found where no one names it: first by path, then by branch."""

    paths: dict[str, str] = Field(
        default_factory=dict,
        description="glob of the working folder, relative to the repository: chapter",
    )
    branches: dict[str, str] = Field(
        default_factory=dict, description=r"regular expression on the branch: chapter (\1 allowed)"
    )

    @field_validator("branches")
    @classmethod
    def _compiles(cls, value: dict[str, str]) -> dict[str, str]:
        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                message = f"`{pattern}` is no regular expression: {error}"
                raise ValueError(message) from error
        return value


class Privacy(_Group):
    """What keeps a member from being told from figures of a group."""

    cohort_floor: int = Field(
        1,
        ge=1,
        le=50,
        description="members that figures of a group must come from; a purge deletes days of "
        "groups below it, and below 2 always",
    )


class Code(_Group):
    """What keeps code out of texts, whatever `content` says."""

    exclude_paths: tuple[str, ...] = Field(
        (),
        description="globs such as `src/secret/**`: the texts of an event that names such a path "
        "are not kept",
    )
    exclude_tools: tuple[str, ...] = Field(
        (), description="tools such as `WebFetch` whose commands, arguments and input are not kept"
    )
    include_only: tuple[str, ...] = Field(
        (),
        description="globs such as `chapters/**/*.md`: files whose contents may be kept, at "
        "content level `full`; with any, tools that work on other files keep no texts at all",
    )

    @field_validator("exclude_paths", "include_only")
    @classmethod
    def _globs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for glob in value:
            if not re.fullmatch(r"[^\s\\\"'`\[\]{}]{1,200}", glob) or not re.search(
                r"[^*/?.]", glob
            ):
                message = (
                    f"`{glob}` is no glob here: write a path with `*`, `**` and `?`, without "
                    "blanks, quotes or brackets, that names something"
                )
                raise ValueError(message)
        return value

    @field_validator("exclude_tools")
    @classmethod
    def _tools(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for tool in value:
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", tool):
                message = f"`{tool}` is no name of a tool, such as Bash or mcp__server__tool"
                raise ValueError(message)
        return value


class Sanitize(_Group):
    """What a team adds to the rules in infra/collector/rules/; nothing here can take one away."""

    patterns: tuple[rules.TeamPattern, ...] = Field(
        (),
        description="patterns of your own: `name`, `what`, `regex` (RE2), `examples` that "
        "must go, `stays` (look-alikes that must stay)",
    )
    attributes: tuple[rules.TeamAttribute, ...] = Field(
        (), description="attributes of your own that may be stored, each with `name` and `why`"
    )

    @property
    def all_patterns(self) -> tuple[rules.Pattern, ...]:
        """The built-in ones, and those of the team, in the order they apply."""
        return (*rules.patterns(), *(each.pattern for each in self.patterns))

    @model_validator(mode="after")
    def _names(self) -> Sanitize:
        for named in (self.patterns, self.attributes):
            seen = [each.name for each in named]
            twice = sorted({name for name in seen if seen.count(name) > 1})
            if twice:
                raise ValueError(f"{', '.join(twice)} is there twice")
        return self


class Context(_Group):
    """What events are filed under."""

    team: str = Field("", max_length=64, description="team name, the same for all its members")
    chapters: Chapters = Field(default_factory=Chapters, description="where chapters are found")


class Cloud(_Group):
    """Where the shared endpoint runs: read by the `cloud` stack and commands with `--on cloud`."""

    project: str = Field("", description="id of the Google Cloud project")
    region: str = Field(
        "europe-west1", pattern=r"^[a-z]+-[a-z]+\d+$", description="region of the endpoint"
    )
    zone: str = Field("", description="zone of the machine; empty means zone b of the region")
    machine_type: str = Field(
        "e2-standard-2",
        pattern=r"^[a-z][a-z0-9-]+$",
        description="machine type; one of ARM (`t2a-`, `c4a-`, `n4a-`) gets an ARM image",
    )
    image: str = Field(
        "",
        description="boot image or family; empty means Container-Optimized OS for the machine type",
    )
    boot_disk_gib: int = Field(20, ge=10, le=1000, description="GiB of the boot disk")
    data_disk_gib: int = Field(
        100, ge=10, le=65_536, description="GiB of the data disk; it can grow, never shrink"
    )
    data_disk_type: Literal["pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced"] = Field(
        "pd-balanced", description="`pd-standard`, `pd-balanced`, `pd-ssd` or `hyperdisk-balanced`"
    )
    snapshot_days: int = Field(
        14, ge=1, le=21, description="days a daily snapshot of the data disk is kept"
    )
    backup_lock_days: int = Field(
        7, ge=0, le=14, description="days in which nobody can delete a backup from its bucket"
    )
    deletion_protection: bool = Field(
        True, description="refuse to delete the machine, the disk and the buckets"
    )
    administrators: tuple[str, ...] = Field(
        (),
        description="who may administer through the IAP tunnel, such as `user:anna@example.org` "
        "or `group:...`",
    )
    ssh: bool = Field(False, description="open SSH, through the IAP tunnel only")
    alert_email: str = Field("", description="where alerts go; empty means: none are set up")
    dns_zone: str = Field(
        "", description="name of a Cloud DNS zone of the project for the record of `edge.domain`"
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="labels of your own on every resource that takes some"
    )

    @field_validator("project")
    @classmethod
    def _project(cls, value: str) -> str:
        if value and not re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", value):
            raise ValueError("write the id of the project, such as my-project-1234")
        return value

    @field_validator("administrators")
    @classmethod
    def _principals(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not re.fullmatch(r"(user|group|serviceAccount|domain):[^\s:]+", each):
                message = f"`{each}` is no principal, such as user:anna@example.org"
                raise ValueError(message)
        return value

    @field_validator("labels")
    @classmethod
    def _labels(cls, value: dict[str, str]) -> dict[str, str]:
        for key, text in value.items():
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(
                r"[a-z0-9_-]{0,63}", text
            ):
                message = f"`{key}: {text}` is no label: small letters, digits, `-` and `_`"
                raise ValueError(message)
        return value

    @property
    def zone_name(self) -> str:
        """The zone, chosen or by default."""
        return self.zone or f"{self.region}-b"

    @property
    def arm(self) -> bool:
        """Whether the machine type is of ARM."""
        return self.machine_type.startswith(("t2a-", "c4a-", "n4a-"))


class Edge(_Group):
    """What of the shared endpoint faces the internet."""

    domain: str = Field(
        "", description="domain name; empty means: the address, and a CA of our own"
    )
    certificate: Literal["auto", "acme", "own"] = Field(
        "auto",
        description="`acme` (a public certificate for the domain), `own` (a CA of our own), or "
        "`auto`: acme where there is a domain",
    )
    acme_email: str = Field("", description="where the issuer of the certificate may write")
    client_certificates: bool = Field(
        False, description="let in only who shows a client certificate of ours (mTLS)"
    )
    allowed_ranges: tuple[str, ...] = Field(
        (),
        description="CIDR ranges that may reach it; `0.0.0.0/0` is everybody; must be named",
    )
    connections_per_second: int = Field(
        10, ge=1, le=10_000, description="new connections a second that an address may open"
    )
    connections_burst: int = Field(
        100, ge=1, le=100_000, description="how many it may open at once"
    )

    @field_validator("domain")
    @classmethod
    def _name(cls, value: str) -> str:
        label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
        if value and not re.fullmatch(rf"({label}\.)+{label}", value):
            raise ValueError("write a domain name in small letters, such as telemetry.example.org")
        return value

    @field_validator("allowed_ranges")
    @classmethod
    def _ranges(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ipaddress.IPv4Network(each)
            except ValueError as error:
                message = f"`{each}` is no IPv4 range, such as 203.0.113.0/24: {error}"
                raise ValueError(message) from None
        return value

    @property
    def acme(self) -> bool:
        """Whether the certificate comes from a public issuer."""
        return self.certificate == "acme" or (self.certificate == "auto" and bool(self.domain))

    @model_validator(mode="after")
    def _issued(self) -> Edge:
        if self.acme and not self.domain:
            raise ValueError("certificate `acme` needs a `domain`")
        if self.acme and self.allowed_ranges and "0.0.0.0/0" not in self.allowed_ranges:
            raise ValueError(
                "an issuer must reach the endpoint, so with `acme` allowedRanges must hold "
                "0.0.0.0/0; or choose certificate `own`"
            )
        return self


class Identity(_Group):
    """How members show who they are, besides the credentials that `telemetry member` gives out."""

    lists: int = Field(
        1,
        ge=1,
        le=32,
        description="secrets that the list of members is spread over; one holds some 200 members",
    )
    oidc_issuer: str = Field(
        "", description="issuer whose tokens ingest takes too, such as https://login.example.org"
    )
    oidc_audience: str = Field("", description="audience that a token must be for")
    oidc_claim: str = Field("sub", description="claim that tells a member from another")

    @model_validator(mode="after")
    def _whole(self) -> Identity:
        # It stands between quotes in a script of the machine, and its port in a firewall's rule.
        host = r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"
        if self.oidc_issuer and not re.fullmatch(host, self.oidc_issuer):
            raise ValueError("oidcIssuer must be https://host/path")
        if bool(self.oidc_issuer) != bool(self.oidc_audience):
            raise ValueError("oidcIssuer and oidcAudience belong together: set both, or none")
        if not re.fullmatch(r"[A-Za-z0-9_.:/-]{1,128}", self.oidc_claim):
            raise ValueError("oidcClaim must be the name of a claim, such as sub or email")
        return self


class Scale(_Group):
    """Where the shared endpoint keeps its rows: its own machine, a managed ClickHouse, or a cluster
    of your own; docs/SCALE.md."""

    store: Literal["machine", "managed", "cluster"] = Field(
        "machine",
        description="`machine` (ClickHouse on the endpoint's machine), `managed` (a service that "
        "somebody runs for you) or `cluster` (ClickHouse servers of your own)",
    )
    url: str = Field(
        "",
        description="HTTPS address of that service, or of the cluster, such as "
        "https://store.example.org:8443; its passwords are secrets like the others",
    )
    shards: tuple[str, ...] = Field(
        (),
        description="`cluster` only: a line a shard, hosts of its replicas with commas between, "
        "such as `a1.example.org,a2.example.org`",
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, value: str) -> str:
        # It stands in rendered files, and passwords go over it.
        if value and not re.fullmatch(r"https://[A-Za-z0-9.-]+(:\d{1,5})?", value):
            raise ValueError("write https://host:port, without user, password or path")
        return value

    @field_validator("shards")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*(,[a-z0-9][a-z0-9.-]*)*", each):
                message = f"`{each}` is no list of host names with commas between"
                raise ValueError(message)
        hosts = [host for each in value for host in each.split(",")]
        if len(set(hosts)) != len(hosts):
            raise ValueError("a host stands in it twice")
        if len({each.count(",") for each in value}) > 1:
            raise ValueError("every shard must have as many replicas as the others")
        return value

    @model_validator(mode="after")
    def _belongs(self) -> Scale:
        if (self.store == "machine") == bool(self.url):
            raise ValueError(
                "`url` belongs to the stores `managed` and `cluster`, and both need it"
            )
        if (self.store == "cluster") != bool(self.shards):
            raise ValueError("`shards` belongs to the store `cluster`, which needs it")
        return self

    @property
    def replicated(self) -> bool:
        """Whether a shard is on several hosts."""
        return any("," in each for each in self.shards)


class Settings(_Group):
    """Everything the stacks, the collector and the warehouse are rendered from."""

    backend: Backend = Field(
        "clickhouse",
        description="where metrics go: `clickhouse`, `prometheus` or `both`; events always go to "
        "ClickHouse",
    )
    content: rules.Level = Field(
        "none",
        description="texts that are kept: `none`, `commands` (of tools), `prompts` (those and what "
        "members write) or `full` (those and answers); docs/DATA-SANITIZATION.md",
    )
    ports: Ports = Field(default_factory=Ports)
    retention: Retention = Field(default_factory=Retention)
    backup: Backup = Field(default_factory=Backup)
    limits: Limits = Field(default_factory=Limits)
    sampling: Sampling = Field(default_factory=Sampling)
    queue: Queue = Field(default_factory=Queue)
    images: Images = Field(default_factory=Images)
    programs: Programs = Field(default_factory=Programs)
    docker: Docker = Field(default_factory=Docker)
    prometheus: Prometheus = Field(default_factory=Prometheus)
    stores: Stores = Field(default_factory=Stores)
    budget: Budget = Field(default_factory=Budget)
    context: Context = Field(default_factory=Context)
    privacy: Privacy = Field(default_factory=Privacy)
    code: Code = Field(default_factory=Code)
    sanitize: Sanitize = Field(default_factory=Sanitize)
    cloud: Cloud = Field(default_factory=Cloud)
    edge: Edge = Field(default_factory=Edge)
    identity: Identity = Field(default_factory=Identity)
    scale: Scale = Field(default_factory=Scale)

    @property
    def own_prometheus(self) -> bool:
        """Whether a Prometheus of our own runs."""
        return self.backend != "clickhouse" and not self.prometheus.url


def merged(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One nested mapping out of several; a later layer wins key by key, not group by group."""
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = result.get(key)
            if isinstance(value, Mapping):
                result[key] = merged([below if isinstance(below, Mapping) else {}, value])
            else:
                result[key] = value
    return result


def validated(layers: Iterable[Mapping[str, Any]]) -> Settings:
    """Settings from layers of data, lowest first. Raises SettingsError naming each bad value."""
    data = merged(layers)
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise SettingsError("\n".join(_explained(problem) for problem in error.errors())) from None


def for_cloud(settings: Settings) -> Settings:
    """The same settings, where the `cloud` stack can be made of them. Raises SettingsError."""
    problems = []
    if not settings.cloud.project:
        problems.append(
            f"{PROJECT}:cloud.project is not set: the Google Cloud project to build in. Set it "
            f"with `pulumi config set --path '{PROJECT}:cloud.project' ID -s cloud`."
        )
    if not settings.edge.allowed_ranges:
        problems.append(
            f"{PROJECT}:edge.allowedRanges is not set: who may reach the endpoint. Set it with "
            f"`pulumi config set --path '{PROJECT}:edge.allowedRanges[0]' RANGE -s cloud`; "
            "0.0.0.0/0 is everybody."
        )
    cloud = settings.cloud
    if not cloud.zone_name.startswith(f"{cloud.region}-"):
        problems.append(
            f"{PROJECT}:cloud.zone is {cloud.zone!r}, which is not in {cloud.region}: disk and "
            f"address would be apart. Take one such as {cloud.region}-b, or set "
            f"{PROJECT}:cloud.region too."
        )
    if cloud.dns_zone and not settings.edge.domain:
        problems.append(
            f"{PROJECT}:cloud.dnsZone is {cloud.dns_zone!r}, and no {PROJECT}:edge.domain is set: "
            "there is no name to put into the zone. Set both, or none."
        )
    if cloud.machine_type.startswith(HYPERDISK_ONLY) and cloud.data_disk_type.startswith("pd-"):
        problems.append(
            f"{PROJECT}:cloud.dataDiskType is {cloud.data_disk_type!r}, and a "
            f"{cloud.machine_type} takes none of those. Set it with `pulumi config set --path "
            f"'{PROJECT}:cloud.dataDiskType' hyperdisk-balanced -s cloud`."
        )
    if settings.backend != "clickhouse":
        problems.append(
            f"{PROJECT}:backend is {settings.backend!r}: the `cloud` stack knows `clickhouse` "
            "only. Prometheus belongs to the machines of members."
        )
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _explained(problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return (
            f"{PROJECT}:{path} is no setting. See the list in Pulumi.yaml; remove it with "
            f"`pulumi config rm --path '{PROJECT}:{path}'` or from settings.yaml."
        )
    rule = str(problem["msg"]).removeprefix("Value error, ")
    return (
        f"{PROJECT}:{path} is {problem['input']!r}: {rule}. Mend it with "
        f"`pulumi config set --path '{PROJECT}:{path}' VALUE` or in settings.yaml."
    )


def project_defaults(project_file: Path) -> dict[str, Any]:
    """The `config:` defaults of Pulumi.yaml, as the Pulumi engine would apply them.

    It reads a key with dots as a path, so `ports.health` is a default of one key within `ports`.
    """
    config = _yaml(project_file).get("config", {})
    defaults: dict[str, Any] = {}
    for key, declared in config.items():
        if isinstance(declared, Mapping) and "default" in declared:
            value = declared["default"]
            for part in reversed(key.removeprefix(f"{PROJECT}:").split(".")):
                value = {part: value}
            defaults = merged([defaults, value])
    return defaults


def stack_values(stack_file: Path) -> dict[str, Any]:
    """The plain `telemetry:` values of a Pulumi.<stack>.yaml."""
    config = _yaml(stack_file).get("config", {})
    prefix = f"{PROJECT}:"
    return {
        key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)
    }


def member_file(home: Path) -> Path:
    """This member's own settings.yaml."""
    return home / "settings.yaml"


def member_values(home: Path) -> dict[str, Any]:
    """What stands in it; absent means nothing."""
    return _yaml(member_file(home))


def load_cloud(project: Path, stack: str = "cloud") -> Settings:
    """Settings of the shared endpoint that this Pulumi stack is, from the files of the clone alone:
    it is the team's, so what a member set for themselves does not count. Raises SettingsError."""
    return for_cloud(
        validated(
            (
                project_defaults(project / "Pulumi.yaml"),
                stack_values(project / f"Pulumi.{stack}.yaml"),
            )
        )
    )


def load(project: Path, home: Path) -> Settings:
    """Settings for the stacks on this machine, from the files of the clone and of the state folder.

    `embedded` and `local` both read Pulumi.local.yaml, so a member moves between them freely.
    """
    return validated(
        (
            project_defaults(project / "Pulumi.yaml"),
            stack_values(project / "Pulumi.local.yaml"),
            member_values(home),
        )
    )


def _yaml(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        message = f"{path} is not valid YAML: {error}"
        raise SettingsError(message) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        message = f"{path} must hold `key: value` lines, found {type(data).__name__}"
        raise SettingsError(message)
    return data
