"""Who may do what in ClickHouse: users.xml, generated.

Nobody logs in without a password, and the file holds hashes only. The one user without a password
is libchdb's own `default` on `embedded`, which may start and stop listening and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from infra.warehouse import names
from infra.warehouse.xml import document

_NOBODY = "0" * 64
"""A SHA-256 that no password is known to have: this user exists, and cannot log in."""

_HUMAN_LIMITS = {
    "max_memory_usage": 1_000_000_000,
    "max_execution_time": 60,
}


@dataclass(frozen=True, kw_only=True)
class Members:
    """Members who may read, by opaque id, with the SHA-256 (hex) of each one's password."""

    password_hashes: Mapping[str, str]


def password_hash(password: str) -> str:
    """What users.xml keeps instead of a password."""
    return hashlib.sha256(password.encode()).hexdigest()


def profiles() -> dict[str, dict[str, object]]:
    """Settings profiles of one server."""
    return {
        # The server's own work, such as refreshing summaries, would crowd people out of the audit.
        "default": {"log_queries": 0},
        "telemetry_local": {"log_queries": 1},
        "telemetry_ingest": {"async_insert": 0, "log_queries": 0},
        # Reads see each event once, however often it was sent.
        "telemetry_admin": {"final": 1, "log_queries": 1},
        "telemetry_human": {
            "readonly": 2,
            "final": 1,
            "log_queries": 1,
            **_HUMAN_LIMITS,
            "constraints": {
                "final": {"const": None},
                "log_queries": {"const": None},
                "allow_ddl": {"const": None},
                **{name: {"max": value} for name, value in _HUMAN_LIMITS.items()},
            },
        },
    }


def _user(
    password_sha256: str,
    *,
    profile: str,
    grants: list[str],
    filters: Mapping[str, str] | None = None,
) -> dict[str, object]:
    user: dict[str, object] = {
        "password_sha256_hex": password_sha256,
        "networks": {"ip": ["::/0"]},
        "profile": profile,
        "quota": "default",
        "grants": {"query": grants},
    }
    if filters:
        user["databases"] = {
            names.DATABASE: {table: {"filter": rule} for table, rule in filters.items()}
        }
    return user


def _member(member: str, password_sha256: str, *, alone: bool) -> dict[str, object]:
    """Reads its own rows, and not those of self-tests; needs not name the database.

    `alone`: nobody else's rows are in the aggregates, so they are the member's own.
    """
    own = f"member = '{member}'"
    aggregates = names.AGGREGATES if alone else ()
    readable = (*names.OWN_EVENTS, *names.OWN_ROWS, *names.SHARED, *aggregates)
    user = _user(
        password_sha256,
        profile="telemetry_human",
        grants=[f"GRANT SELECT ON {names.DATABASE}.{table}" for table in readable],
        filters={
            **dict.fromkeys(names.OWN_EVENTS, f"{own} AND synthetic = ''"),
            **dict.fromkeys(names.OWN_ROWS, own),
        },
    )
    return {**user, "default_database": names.DATABASE}


def users(
    *, admin_hash: str, ingest_hash: str, members: Members, loopback_default: bool
) -> dict[str, object]:
    """The users of one server.

    `loopback_default`: libchdb refuses to start without a passwordless `default` from loopback; a
    real server gets that user removed.
    """
    landing = (names.LOGS_LANDING, names.SUM_LANDING, names.GAUGE_LANDING)
    everybody: dict[str, object] = {}
    if loopback_default:
        everybody["default"] = {
            "password": "",
            "networks": {"ip": ["127.0.0.1", "::1"]},
            "profile": "telemetry_local",
            "quota": "default",
            "grants": {"query": ["GRANT SYSTEM LISTEN, SYSTEM FLUSH LOGS ON *.*"]},
        }
    everybody[names.ADMIN_USER] = _user(
        admin_hash,
        profile="telemetry_admin",
        grants=[
            f"GRANT ALL ON {names.DATABASE}.* WITH GRANT OPTION",
            "GRANT TABLE ENGINE ON *",
            "GRANT SELECT ON system.*",
            "GRANT SYSTEM FLUSH LOGS ON *.*",
            f"GRANT SYSTEM VIEWS ON {names.DATABASE}.*",
            "GRANT SET DEFINER ON *",
            # Purging takes people out of the audit too, and nothing else of it.
            *(f"GRANT ALTER UPDATE ON system.{log}" for log in names.AUDIT_LOGS),
        ],
        # Where any user has a row filter, one without sees nothing.
        filters=dict.fromkeys((*names.OWN_EVENTS, *names.OWN_ROWS), "1"),
    )
    everybody[names.INGEST_USER] = _user(
        ingest_hash,
        profile="telemetry_ingest",
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
        filters=dict.fromkeys((*names.OWN_EVENTS, names.PURGE_REQUESTS), "1"),
    )
    for member, hashed in sorted(members.password_hashes.items()):
        everybody[escape(member)] = _member(member, hashed, alone=len(members.password_hashes) == 1)
    return everybody


def users_xml(
    *, admin_hash: str, ingest_hash: str, members: Members, loopback_default: bool
) -> str:
    """users.xml (embedded) or users.d/telemetry.xml (the official image, whose `default` goes)."""
    everybody = users(
        admin_hash=admin_hash,
        ingest_hash=ingest_hash,
        members=members,
        loopback_default=loopback_default,
    )
    if not loopback_default:
        everybody = {"default": {"@remove": "remove"}, **everybody}
    return document(
        {
            "profiles": profiles(),
            "quotas": {"default": {}},
            "users": everybody,
        }
    )
