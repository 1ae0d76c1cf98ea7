"""A store beyond one machine: ClickHouse's own sharding and replication, from the same files.

A shard is a whole store of some members: database `telemetry`, made by the numbered files as on one
machine, summaries and all. So an event that comes twice meets itself, because its member lives on
one shard. What spans the shards is a second database of Distributed tables, which keep nothing: the
collector inserts there, each row goes to the shard of its member; people ask there, each shard
answers for its own. Row filters hold on every shard, because servers ask each other in the name of
who asked (`secret` in `cluster_xml`).

Replicas of a shard are ClickHouse's too: database engine Replicated, which repeats every statement
of the schema on each replica, and tables with the Replicated form of their engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from infra.settings import Settings
from infra.warehouse import access, migrations, names
from infra.warehouse.xml import document

CLUSTER = "telemetry_shards"
"""In `remote_servers` of every server. No database's name: a Replicated one is a cluster itself."""
SECRET_VARIABLE = "TELEMETRY_CLUSTER_SECRET"
"""Environment of every server: what they know each other by."""
NATIVE_TLS_PORT = 9440

_READS_FILES = re.compile(r"^CREATE MATERIALIZED VIEW [^;]*FROM file[(][^;]*;\n", re.MULTILINE)
_KEPT = re.compile(r"\bENGINE = ((?:Replacing|Summing)?MergeTree)\b")
_MEMBER = "cityHash64(member)"
_LANDING_MEMBER = "cityHash64(ResourceAttributes['member'])"
_LANDING = (names.LOGS_LANDING, names.SUM_LANDING, names.GAUGE_LANDING)
_ALIKE = (
    names.RETENTION,
    names.PRICES,
    names.BUDGET,
    names.COHORT_FLOOR,
    names.MIGRATIONS,
)
"""The same on every shard, so this one is asked."""
_DAYS = ("daily_metrics", "daily_metrics_now")
_DAY = ("day", "team", "chapter")
_FIGURES = (
    *("members", "sessions", "prompts", "requests", "api_errors", "tool_calls", "tool_failures"),
    *("edits", "approved", "rejected", "cost_usd", "input_tokens", "output_tokens"),
    *("cache_read_tokens", "cache_creation_tokens"),
)
"""Of a day without members: no member is on two shards, so all of them add up."""


def endpoint(settings: Settings, own: str) -> str:
    """Where the collector inserts and people ask; `own`: the endpoint's own ClickHouse."""
    return settings.scale.url or own


def database(settings: Settings) -> str:
    """The database that the collector inserts into, and that people ask by default."""
    return names.EVERYWHERE if settings.scale.store == "cluster" else names.DATABASE


def schema_endpoints(settings: Settings, own: str) -> tuple[str, ...]:
    """Where the schema is applied: once a shard, at its first replica."""
    if settings.scale.store != "cluster":
        return (endpoint(settings, own),)
    port = settings.scale.url.partition("://")[2].partition(":")[2]
    return tuple(
        f"https://{each.partition(',')[0]}{':' + port if port else ''}"
        for each in settings.scale.shards
    )


def replicated(statement: str) -> str:
    """The same with the Replicated form of its engine; arguments stay, places in Keeper go without
    saying in a database of engine Replicated. Landing tables keep nothing, so nothing of theirs is
    replicated."""
    return _KEPT.sub(r"ENGINE = Replicated\1", statement)


def schema_files(settings: Settings) -> dict[str, str]:
    """The numbered files as this store takes them, by name."""
    found = {each.name: each.text for each in migrations.migrations()}
    if settings.scale.store == "managed":
        # A service lets nobody read files, and the edge's log is none of its own.
        found = {name: _READS_FILES.sub("", text) for name, text in found.items()}
    if settings.scale.replicated:
        found = {name: replicated(text) for name, text in found.items()}
    return found


def before(settings: Settings) -> tuple[str, ...]:
    """Statements before the numbered files, every time, on every shard."""
    if not settings.scale.replicated:
        return ()
    return (
        *(
            f"CREATE DATABASE IF NOT EXISTS {each} ON CLUSTER {CLUSTER} "
            f"ENGINE = Replicated('/clickhouse/databases/{each}/{{shard}}', '{{shard}}', "
            "'{replica}')"
            for each in (names.DATABASE, names.TEAM_DATABASE, names.EVERYWHERE)
        ),
        *(replicated(each) for each in migrations.BOOTSTRAP if each.startswith("CREATE TABLE")),
    )


def after(settings: Settings) -> tuple[str, ...]:
    """Statements after them, every time, on every shard: what spans the shards.

    Made anew each time, so that it has the columns of now. It holds no rows.
    """
    if settings.scale.store != "cluster":
        return ()
    read = (*names.OWN_EVENTS, *names.OWN_ROWS, *names.SHARED, *names.AGGREGATES, *names.ACCESS)
    made = _made()
    spanning = [each for each in dict.fromkeys(read) if each in made - {*_ALIKE, *_DAYS}]
    return (
        f"CREATE DATABASE IF NOT EXISTS {names.EVERYWHERE}",
        *(_distributed(each, each, _LANDING_MEMBER) for each in _LANDING),
        *(
            _distributed(each, each, _MEMBER if each == names.SESSION_LABELS else "")
            for each in spanning
        ),
        *(
            _view(each, f"SELECT * FROM {names.DATABASE}.{each}")
            for each in _ALIKE
            if each in made | {names.MIGRATIONS}
        ),
        *(_distributed(f"{each}_by_shard", each) for each in _DAYS),
        *(_view(each, _added_up(f"{each}_by_shard")) for each in _DAYS),
    )


def _made() -> set[str]:
    """Tables and views of `telemetry` that the numbered files make."""
    found = re.compile(rf"(?:TABLE|VIEW)(?: IF NOT EXISTS)? {names.DATABASE}[.](\w+)")
    return {name for each in migrations.migrations() for name in found.findall(each.text)} | {
        each.name for each in migrations.standing_views(Settings())
    }


def text(statements: Iterable[str]) -> str:
    """Statements as `runner.sh` reads them."""
    return "".join(f"{each};\n" for each in statements)


def _distributed(name: str, local: str, key: str = "") -> str:
    return (
        f"CREATE OR REPLACE TABLE {names.EVERYWHERE}.{name} AS {names.DATABASE}.{local} "
        f"ENGINE = Distributed('{CLUSTER}', '{names.DATABASE}', '{local}'"
        f"{', ' + key if key else ''})"
    )


def _view(name: str, select: str) -> str:
    return f"CREATE OR REPLACE VIEW {names.EVERYWHERE}.{name} AS {select}"


def _added_up(table: str) -> str:
    figures = ", ".join(f"sum(s.{each}) AS {each}" for each in _FIGURES)
    return (
        f"SELECT {', '.join(_DAY)}, {figures} FROM {names.EVERYWHERE}.{table} AS s "
        f"GROUP BY {', '.join(_DAY)}"
    )


_PROFILE = re.compile(r"(\n    <telemetry_\w+>)")
_GRANT = re.compile(
    rf"\n *<query>GRANT (?!SYSTEM)[A-Z, ]+ ON {names.DATABASE}[.](\w+|[*])[^<]*</query>"
)
_ROLE = re.compile(r"\n    <(telemetry_\w+)>\n      <grants>(.*?)\n      </grants>", re.DOTALL)
_RESULT = re.compile(r"\n *<(max_result_\w+)>\s*<min>.*?</\1>", re.DOTALL)
_DEFAULT = f"<default_database>{names.DATABASE}</default_database>"
_EVERYWHERE = f"<default_database>{names.EVERYWHERE}</default_database>"


def across(templates: Mapping[str, str]) -> dict[str, str]:
    """Templates of users.xml (access.py) as servers of a cluster have them.

    What a user may do in `telemetry`, they may do across the shards too, and that is where they
    ask. Row filters stay where the rows are. Users have the grants of their role themselves:
    another server does not count those of roles for what a view reads.
    """
    roles = templates[access.HEAD].partition("<roles>")[2].partition("</roles>")[0]
    found = dict(templates)
    for name, grants in _ROLE.findall(roles):
        role = re.compile(rf"\n *<query>GRANT {name}</query>")
        found = {each: role.sub(grants, text) for each, text in found.items()}
    found = {
        name: _GRANT.sub(_both, text).replace(_DEFAULT, _EVERYWHERE) for name, text in found.items()
    }
    # A batch is answered for when it is on the shards, not when it waits to go there; and what a
    # question joins or looks up is of all shards.
    more = (
        "\n      <distributed_foreground_insert>1</distributed_foreground_insert>"
        "\n      <distributed_product_mode>global</distributed_product_mode>"
    )
    profiles, end, rest = found[access.HEAD].partition("</profiles>")
    # Nobody may set a limit of the result: a server that asks another sets none, and where the
    # least is 1, that is what it gets.
    profiles = _RESULT.sub("", _PROFILE.sub(rf"\1{more}", profiles))
    return {**found, access.HEAD: profiles + end + rest}


def _both(grant: re.Match[str]) -> str:
    """The grant, and the same across the shards."""
    there = grant[0].replace(f" ON {names.DATABASE}.", f" ON {names.EVERYWHERE}.")
    beneath = there.replace(f".{grant[1]}<", f".{grant[1]}_by_shard<") if grant[1] in _DAYS else ""
    return grant[0] + there + beneath


def cluster_xml(settings: Settings, *, port: int = NATIVE_TLS_PORT, secure: bool = True) -> str:
    """config.d/telemetry-cluster.xml, the same on every server. Macros `shard` and `replica`,
    Keeper and certificates are each server's own."""
    return document(
        {
            "remote_servers": {
                CLUSTER: {
                    # Asked in the name of who asks, so that row filters hold there. With a user and
                    # password instead, a member would see everybody's rows of the other shards.
                    "secret": {"@from_env": SECRET_VARIABLE},
                    "shard": [
                        {
                            "internal_replication": "true",
                            "replica": [
                                {"host": host, "port": port, "secure": int(secure)}
                                for host in each.split(",")
                            ],
                        }
                        for each in settings.scale.shards
                    ],
                }
            }
        }
    )
