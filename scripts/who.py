"""`telemetry who`: which pseudonym a value has here, and names for pseudonyms and members.

The names are for the eyes of whoever may read the file: it stands among the secrets, and nothing of
it is ever sent or stored with the telemetry.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from infra.secrets import Secrets
from stacks.home import Home, write_private

_ID = re.compile(r"^(?:m-[a-z0-9]{10}|p1:[0-9a-f]{64})$")


def _file(home: Home) -> Path:
    return home.secrets_folder / "directory.json"


def pseudonym(secrets: Secrets, value: str) -> str:
    """What the collector stores instead of a value (infra/collector/sanitize.py)."""
    return "p1:" + hashlib.sha256(f"{secrets.pseudonym_key}:{value}".encode()).hexdigest()


def identity(secrets: Secrets, value: str) -> str:
    """The id that a value stands under: itself, where it is a member's or a pseudonym already."""
    return value if _ID.match(value) else pseudonym(secrets, value)


def directory(home: Home) -> dict[str, str]:
    """Names by member id or pseudonym."""
    file = _file(home)
    if not file.exists():
        return {}
    names: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return names


def name(home: Home, identity: str, shown: str) -> None:
    """Remember a name; an empty one is forgotten."""
    names = directory(home)
    names.pop(identity, None)
    if shown:
        names[identity] = shown
    write_private(_file(home), json.dumps(names, indent=2, ensure_ascii=False, sort_keys=True))
