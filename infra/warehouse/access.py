"""Who may do what in ClickHouse: users.xml, from templates.

Nobody logs in without a password, and the file holds hashes only. The one user without a password
is libchdb's own `default` on `embedded`, which may start and stop listening and nothing else.

The templates are filled in by `expand` on a member's machine, and with awk on one without Python
(infra/host). So their language is small: HEAD, then for each login that lets someone in, by id, the
template of its role, then TAIL. A placeholder stands for the same text wherever it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infra.identity import Login
from infra.warehouse import names
from infra.warehouse.xml import document

HEAD, METHOD, TAIL = "head", "method", "tail"
"""Names of templates, beside the roles of infra/identity.py."""
ADMIN_HASH, INGEST_HASH = "@ADMIN_HASH@", "@INGEST_HASH@"
"""In HEAD: SHA-256 (hex) of the two passwords."""
ID, TEAM, METHODS = "@ID@", "@TEAM@", "@METHODS@"
"""In a role's template. METHODS is METHOD for each hash that still holds, one after another."""
NUMBER, HASH = "@NUMBER@", "@HASH@"
"""In METHOD: 1, 2, ... among those that hold, and the SHA-256."""

_NOBODY = "0" * 64
"""A SHA-256 that no password is known to have: this user exists, and cannot log in."""
_ANYWHERE = ("::/0",)


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Addresses (CIDR) that users may come from. People may come from anywhere: the firewall and
    the edge say who reaches them."""

    admin: tuple[str, ...] = _ANYWHERE
    ingest: tuple[str, ...] = _ANYWHERE


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one query, and of one person in an hour."""

    memory: int
    """Bytes."""
    seconds: int
    rows_read: int
    rows: int
    result: int
    """Bytes."""
    queries: int
    errors: int
    hour_rows_read: int
    hour_seconds: int

    @property
    def largest(self) -> dict[str, int]:
        """Settings that a person may lower."""
        return {
            "max_execution_time": self.seconds,
            "max_memory_usage": self.memory,
            "max_result_bytes": self.result,
            "max_result_rows": self.rows,
            "max_rows_to_read": self.rows_read,
            "max_threads": _THREADS,
        }

    @property
    def quota(self) -> dict[str, int]:
        """What an hour holds; not of bytes, which a query has a limit for."""
        return {
            "duration": 3600,
            "queries": self.queries,
            "errors": self.errors,
            "read_rows": self.hour_rows_read,
            "execution_time": self.hour_seconds,
        }


_THREADS = 4
_AT_ONCE = 16
"""Queries of one person."""

LIMITS: Mapping[str, Limits] = {
    "member": Limits(
        memory=1_000_000_000,
        seconds=60,
        rows_read=2_000_000_000,
        rows=1_000_000,
        result=500_000_000,
        queries=20_000,
        errors=2_000,
        hour_rows_read=50_000_000_000,
        hour_seconds=3600,
    ),
    "coordinator": Limits(
        memory=1_000_000_000,
        seconds=60,
        rows_read=500_000_000,
        rows=1_000_000,
        result=500_000_000,
        queries=10_000,
        errors=1_000,
        hour_rows_read=10_000_000_000,
        hour_seconds=3600,
    ),
    "auditor": Limits(
        memory=500_000_000,
        seconds=60,
        rows_read=500_000_000,
        rows=1_000_000,
        result=500_000_000,
        queries=2_000,
        errors=500,
        hour_rows_read=10_000_000_000,
        hour_seconds=1800,
    ),
}

_FREE = (
    "add_http_cors_header",
    "cancel_http_readonly_queries_on_client_close",
    "date_time_input_format",
    "date_time_output_format",
    "enable_http_compression",
    "http_headers_progress_interval_ms",
    "http_wait_end_of_query",
    "http_zlib_compression_level",
    "join_use_nulls",
    "log_comment",
    "max_block_size",
    "output_format_decimal_trailing_zeros",
    "output_format_json_quote_64bit_integers",
    "output_format_json_quote_decimals",
    "output_format_json_quote_denormals",
    "output_format_native_write_json_as_string",
    "output_format_parquet_string_as_string",
    "output_format_pretty_color",
    "output_format_pretty_max_rows",
    "send_progress_in_http_headers",
    "session_timezone",
)
"""Settings that change how an answer looks. Every other one is shut: a setting may hide a query
from the log, show more of it (send_logs_level), skip what is final, or outgrow a limit."""


INDEX_FUNCTIONS = (
    "mergeTreeAnalyzeIndexes",
    "mergeTreeAnalyzeIndexesUUID",
    "mergeTreeIndex",
    "mergeTreeProjection",
    "mergeTreeTextIndex",
)
"""Table functions that show the keys of a table, members and sessions of others among them: filters
of the table do not hold for them, filters of their own names do."""
_SIZES = {"tables": "total_rows IS NULL", "columns": "data_compressed_bytes = 0"}
"""Of `system`. Tables with rows are not listed to members who share a store, nor to the coordinator
of one team of several: how many rows there are, less their own, is what others did. DESCRIBE tells
of each."""


def password_hash(password: str) -> str:
    """What users.xml keeps instead of a password."""
    return hashlib.sha256(password.encode()).hexdigest()


def _profiles() -> dict[str, object]:
    return {
        # The server's own work, such as refreshing summaries, would crowd people out of the audit.
        "default": {"log_queries": 0},
        # Who has no password starts and stops listening. What calls a function, such as file(), is
        # too long.
        "telemetry_local": {
            "log_queries": 1,
            "max_ast_elements": 6,
            "constraints": {"max_ast_elements": {"const": None}},
        },
        "telemetry_ingest": {"async_insert": 0, "log_queries": 0},
        # Reads see each event once, however often it was sent.
        "telemetry_admin": {"readonly": 0, "final": 1, "log_queries": 1},
        **{_role(role): _profile(limits) for role, limits in LIMITS.items()},
    }


def _role(role: str) -> str:
    """What its role, profile and quota are called in ClickHouse."""
    return f"telemetry_{role}"


def _profile(limits: Limits) -> dict[str, object]:
    """Reads only, and with no setting but those named here.

    `readonly` 1 shuts every setting; `changeable_in_readonly` opens one again. 0 would mean without
    limit, so it is below what may be set.
    """
    opened = {"changeable_in_readonly": None}
    return {
        "readonly": 1,
        "final": 1,
        "log_queries": 1,
        "max_concurrent_queries_for_user": _AT_ONCE,
        "max_memory_usage_for_user": 2 * limits.memory,
        "max_temporary_data_on_disk_size_for_user": 4 * limits.memory,
        **limits.largest,
        "constraints": {
            **{name: {"min": 1, "max": most, **opened} for name, most in limits.largest.items()},
            **dict.fromkeys(_FREE, opened),
        },
    }


def _quotas() -> dict[str, object]:
    """Each is counted by the name of the user, so no key that a client sends makes a fresh one."""
    return {
        "default": {},
        **{_role(role): {"interval": limits.quota} for role, limits in LIMITS.items()},
    }


def _roles(*, alone: bool) -> dict[str, object]:
    """`alone`: nobody else's rows are in the aggregates, so they are the member's own."""
    aggregates = names.AGGREGATES if alone else ()
    readable = {
        "member": [
            f"{names.DATABASE}.{table}"
            for table in (*names.OWN_EVENTS, *names.OWN_ROWS, *names.SHARED, *aggregates)
        ],
        "coordinator": [
            f"{names.TEAM_DATABASE}.{table}" for table in (*names.TEAM_TABLES, *names.TEAM_SHARED)
        ],
        "auditor": [f"{names.DATABASE}.{table}" for table in names.ACCESS],
    }
    return {
        _role(role): {"grants": {"query": [f"GRANT SELECT ON {table}" for table in tables]}}
        for role, tables in readable.items()
    }


def _filters(role: str, *, alone: bool) -> dict[str, dict[str, str]]:
    """Rows that someone of a role sees, by database and table."""
    shut = {"_table_function": dict.fromkeys(INDEX_FUNCTIONS, "0")}
    sizes = {} if alone else {"system": _SIZES if role == "member" else dict.fromkeys(_SIZES, "1")}
    if role == "coordinator":
        everybody = f"'{TEAM}' = '' OR "
        team = f"{everybody}team = '{TEAM}'"
        if sizes:
            sizes = {"system": {name: f"{everybody}{rule}" for name, rule in _SIZES.items()}}
        return {names.TEAM_DATABASE: dict.fromkeys(names.TEAM_TABLES, team), **sizes, **shut}
    if role == "auditor":
        return {names.DATABASE: dict.fromkeys(names.ACCESS, "1"), **sizes, **shut}
    own = f"member = '{ID}'"
    return {
        names.DATABASE: {
            **dict.fromkeys(names.OWN_EVENTS, f"{own} AND synthetic = ''"),
            **dict.fromkeys(names.OWN_ROWS, own),
        },
        **sizes,
        **shut,
    }


def _databases(filters: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    return {
        database: {table: {"filter": rule} for table, rule in tables.items()}
        for database, tables in filters.items()
    }


def _person(role: str, *, alone: bool) -> dict[str, object]:
    return {
        "auth_methods": METHODS,
        "networks": {"ip": list(_ANYWHERE)},
        "profile": _role(role),
        "quota": _role(role),
        "grants": {"query": [f"GRANT {_role(role)}"]},
        "databases": _databases(_filters(role, alone=alone)),
        "default_database": names.TEAM_DATABASE if role == "coordinator" else names.DATABASE,
    }


def _user(
    password_sha256: str,
    *,
    profile: str,
    grants: list[str],
    networks: tuple[str, ...] = _ANYWHERE,
    filters: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, object]:
    user: dict[str, object] = {
        "password_sha256_hex": password_sha256,
        "networks": {"ip": list(networks)},
        "profile": profile,
        "quota": "default",
        "grants": {"query": grants},
    }
    if filters:
        user["databases"] = _databases(filters)
    return user


def _programs(*, loopback_default: bool, alone: bool, networks: Networks) -> dict[str, object]:
    """The users that are no people, and the administrator."""
    landing = (names.LOGS_LANDING, names.SUM_LANDING, names.GAUGE_LANDING)
    everybody: dict[str, object] = {"default": {"@remove": "remove"}}
    if loopback_default:
        everybody["default"] = {
            "password": "",
            "networks": {"ip": ["127.0.0.1", "::1"]},
            "profile": "telemetry_local",
            "quota": "default",
            "grants": {"query": ["GRANT SYSTEM LISTEN, SYSTEM FLUSH LOGS ON *.*"]},
        }
    everybody[names.ADMIN_USER] = _user(
        ADMIN_HASH,
        profile="telemetry_admin",
        networks=networks.admin,
        grants=[
            f"GRANT ALL ON {names.DATABASE}.* WITH GRANT OPTION",
            f"GRANT ALL ON {names.TEAM_DATABASE}.* WITH GRANT OPTION",
            "GRANT TABLE ENGINE ON *",
            "GRANT SELECT ON system.*",
            "GRANT SYSTEM FLUSH LOGS ON *.*",
            f"GRANT SYSTEM VIEWS ON {names.DATABASE}.*",
            f"GRANT SYSTEM VIEWS ON {names.TEAM_DATABASE}.*",
            "GRANT SET DEFINER ON *",
            # The edge's log is a file.
            "GRANT READ ON FILE",
            # Purging takes people out of the audit too, and nothing else of it.
            *(f"GRANT ALTER UPDATE ON system.{log}" for log in names.AUDIT_LOGS),
        ],
        # Where any user has a row filter, one without sees nothing.
        filters={
            names.DATABASE: dict.fromkeys((*names.OWN_EVENTS, *names.OWN_ROWS, *names.ACCESS), "1"),
            names.TEAM_DATABASE: dict.fromkeys(names.TEAM_TABLES, "1"),
            **({} if alone else {"system": dict.fromkeys(_SIZES, "1")}),
        },
    )
    everybody[names.INGEST_USER] = _user(
        INGEST_HASH,
        profile="telemetry_ingest",
        networks=networks.ingest,
        grants=[f"GRANT INSERT ON {names.DATABASE}.{table}" for table in landing],
    )
    everybody[names.VIEWS_USER] = _user(
        _NOBODY,
        profile="telemetry_ingest",
        grants=[
            *(f"GRANT SELECT ON {names.DATABASE}.{table}" for table in landing),
            *(f"GRANT SELECT, INSERT ON {names.DATABASE}.{table}" for table in names.OWN_EVENTS),
            f"GRANT INSERT ON {names.DATABASE}.{names.TOUCHED_DAYS}",
            f"GRANT SELECT ON {names.DATABASE}.{names.SUPPRESSIONS}",
            f"GRANT SELECT ON {names.DATABASE}.{names.PURGE_REQUESTS}",
            f"GRANT SELECT, INSERT ON {names.DATABASE}.{names.KEPT_OUT}",
        ],
        filters={
            names.DATABASE: dict.fromkeys((*names.OWN_EVENTS, names.PURGE_REQUESTS), "1"),
        },
    )
    return everybody


_END = "  </users>\n</clickhouse>\n"


def templates(
    *, loopback_default: bool, alone: bool, networks: Networks | None = None
) -> dict[str, str]:
    """HEAD, METHOD, TAIL and one for each role.

    `loopback_default`: libchdb refuses to start without a passwordless `default` from loopback; a
    real server gets that user removed (users.d/telemetry.xml). `alone`: the store is one member's.
    """
    head = document(
        {
            "profiles": _profiles(),
            "quotas": _quotas(),
            "roles": _roles(alone=alone),
            "users": _programs(
                loopback_default=loopback_default, alone=alone, networks=networks or Networks()
            ),
        }
    )
    return {
        HEAD: head.removesuffix(_END),
        **{role: _block(_person(role, alone=alone)) for role in LIMITS},
        METHOD: f"<password_{NUMBER}><password_sha256_hex>{HASH}</password_sha256_hex>"
        f"</password_{NUMBER}>",
        TAIL: _END,
    }


def _block(user: dict[str, object]) -> str:
    """One user as it stands between others."""
    start = "<clickhouse>\n  <users>\n"
    whole = document({"users": {"user": user}})
    return (
        whole.removeprefix(start)
        .removesuffix(_END)
        .replace("    <user>\n", f"    <{ID}>\n")
        .replace("    </user>\n", f"    </{ID}>\n")
    )


def expand(
    filled: Mapping[str, str], logins: Iterable[Login], *, now: int, admin: str, ingest: str
) -> str:
    """users.xml of the templates. `now`: Unix time; `admin`, `ingest`: hashes of their passwords.

    Who has no password that still holds is left out.
    """
    head = filled[HEAD].replace(ADMIN_HASH, admin).replace(INGEST_HASH, ingest)
    blocks = []
    for each in sorted(logins, key=lambda each: each.id):
        holding = [one.value for one in each.query if one.holds(now)]
        methods = "".join(
            filled[METHOD].replace(NUMBER, str(number)).replace(HASH, value)
            for number, value in enumerate(holding, start=1)
        )
        if methods:
            block = filled[each.role].replace(ID, each.id).replace(TEAM, each.team)
            blocks.append(block.replace(METHODS, methods))
    return "".join((head, *blocks, filled[TAIL]))
