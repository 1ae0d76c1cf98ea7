"""Step 2: identify. Who sent a record, and which record it is.

Runs before sanitizing because the identity of a record without a sequence number is a hash of the
whole record. Nothing here is taken from the client: `member` and everything under `telemetry.` that
it sent is dropped first (but for the run id of a self-test). On a shared endpoint so is its `team`,
and who it is comes from its login (authenticate.py); a hash of the record is kept if a member's own
collector has made one, because it did so before sanitizing.

From here on each attribute stands once, and is a string: a client may send a name twice, and then
an accessor sees the first and the store takes the second; and a number that is none cannot be
written as JSON, which fails whole requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from infra.collector import authenticate, ottl
from infra.collector.placement import Placement

DROPPED = "telemetry.dropped"

_RECORD_HASH = "telemetry.record_hash"
_STAMPED = (
    _RECORD_HASH,
    "telemetry.session_weight",
    "telemetry.purge_hash",
    "telemetry.aside",
    "telemetry.search",
    "weight",
    "member",
    DROPPED,
)
_MOST = 256
"""Attributes of a record that are looked at; a client sends some forty."""
_HAS_SEQUENCE = (
    'IsMatch(log.attributes["event.sequence"], "^[0-9]{1,10}$$") '
    'and log.attributes["session.id"] != nil and log.attributes["session.id"] != ""'
)


def _plainly(path: str, dropped: Iterable[str]) -> list[str]:
    """Statements that leave each attribute once, as a string, and none that is set here."""
    target, once = f"{path}.attributes", f'{path}.cache["once"]'
    return [
        # What comes next takes time by the square of their number.
        f"limit({target}, {_MOST}, [])",
        f"set({once}, {{}})",
        f'merge_maps({once}, {target}, "upsert")',
        f"set({target}, {once})",
        f"delete_matching_keys({target}, {ottl.literal(ottl.either(dropped))})",
        f"stringify_all({target})",
    ]


def _hash(*parts: str) -> str:
    """OTTL: the first 64 bits of a keyed hash, as 16 hex digits.

    Keyed, so that the hash of a short record does not betray what stood in it. The key is in a
    variable: a statement that fails is logged with its text, and the text must not hold the key.
    """
    return f'Substring(SHA256(Concat([{", ".join(parts)}], "|")), 0, 16)'


def processors(placement: Placement) -> dict[str, Any]:
    """`transform/identify`, for logs and metrics."""
    key = placement.secret("pseudonym-key")
    shared = authenticate.wanted(placement)
    dropped = (*_STAMPED, *(authenticate.STAMPED if shared else ()))
    of_records = tuple(name for name in dropped if not shared or name != _RECORD_HASH)
    log_hash = _hash(
        'log.cache["key"]',
        "String(log.time_unix_nano)",
        'log.cache["body"]["text"]',
        "String(log.attributes)",
        "String(resource.attributes)",
    )
    point_hash = _hash(
        'datapoint.cache["key"]',
        "metric.name",
        "String(datapoint.start_time_unix_nano)",
        "String(datapoint.time_unix_nano)",
        'Format("%v", [datapoint.value_double])',
        "String(datapoint.value_int)",
        "String(datapoint.attributes)",
        "String(resource.attributes)",
    )
    scope = {"context": "scope", "statements": _plainly("scope", dropped)}
    resource = {
        "context": "resource",
        "statements": [
            *_plainly("resource", dropped),
            *(
                []
                if shared
                else [f'set(resource.attributes["member"], "{placement.secret("member")}")']
            ),
        ],
    }
    unnumbered = 'log.cache["unnumbered"] == true'
    of_value = "metric.type == METRIC_DATA_TYPE_SUM or metric.type == METRIC_DATA_TYPE_GAUGE"

    def unhashed(path: str, where: str) -> str:
        return f"{ottl.attribute(path, _RECORD_HASH)} == nil and ({where})" if shared else where

    def other_hashes(path: str, where: str) -> list[str]:
        """Statements that drop a hash which is none, or which the record does not need."""
        value = ottl.attribute(path, _RECORD_HASH)
        form = f"IsMatch({value}, {ottl.literal(authenticate.HASH_FORM)})"
        drop = f"delete_key({path}.attributes, {ottl.literal(_RECORD_HASH)})"
        return [f"{drop} where {value} != nil and not ({form} and ({where}))"] if shared else []

    return {
        "transform/identify": {
            "error_mode": "propagate",
            "log_statements": [
                {
                    "context": "log",
                    "statements": [
                        *_plainly("log", of_records),
                        f'set(log.cache["key"], "{key}")',
                        f'set(log.cache["unnumbered"], true) where not ({_HAS_SEQUENCE})',
                        # A body of numbers or maps, as a string whatever stands in it.
                        f'set(log.cache["body"]["text"], log.body) where {unnumbered}',
                        f'stringify_all(log.cache["body"]) where {unnumbered}',
                        *other_hashes("log", unnumbered),
                        # A re-send is byte for byte the same record, so it hashes the same.
                        f'set(log.attributes["telemetry.record_hash"], {log_hash}) '
                        f"where {unhashed('log', unnumbered)}",
                    ],
                },
                resource,
                scope,
            ],
            "metric_statements": [
                {
                    "context": "datapoint",
                    "statements": [
                        *_plainly("datapoint", of_records),
                        f'set(datapoint.cache["key"], "{key}")',
                        *other_hashes("datapoint", of_value),
                        f'set(datapoint.attributes["telemetry.record_hash"], {point_hash}) '
                        f"where {unhashed('datapoint', of_value)}",
                    ],
                },
                resource,
                scope,
            ],
        }
    }
