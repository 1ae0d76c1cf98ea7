"""Hashes by which the store keeps out what comes, late or again, of someone who was purged.

A list of purged members must not say who they were. So it holds keyed hashes, and each record
brings those of its member and its session along; the key never leaves the secrets.
"""

from __future__ import annotations

import hashlib

from infra.collector import ottl

HASH = "telemetry.purge_hash"
"""Of a record: of its session. Of a resource: of its member."""
_CHARACTERS = 32


def purge_hash(key: str, value: str) -> str:
    """What a record or resource carries for this session or member. `key`: the pseudonym key."""
    return hashlib.sha256(f"purge|{key}|{value}".encode()).hexdigest()[:_CHARACTERS]


def statements(path: str, name: str, key: str) -> list[str]:
    """OTTL that adds it. `name`: the attribute with the member or session."""
    value = ottl.attribute(path, name)
    # In a variable, because a statement that fails is logged with its text.
    return [
        f'set({path}.cache["key"], "{key}")',
        f"set({ottl.attribute(path, HASH)}, Substring(SHA256(Concat("
        f'["purge", {path}.cache["key"], {value}], "|")), 0, {_CHARACTERS})) where {value} != nil',
    ]
