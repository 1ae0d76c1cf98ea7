"""Who shares the store of this machine: a list among the secrets, which `telemetry member` writes.

As long as nobody but the owner is on it, nobody is asked who they are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from infra.identity import TEAM, Hash, Login, parse
from infra.settings import Settings
from infra.warehouse.access import password_hash
from stacks.home import Home


def file(home: Home) -> Path:
    """The list."""
    return home.secrets_folder / "members.tsv"


def listed(home: Home) -> tuple[Login, ...]:
    """Everybody on it. Raises IdentityError."""
    found = file(home)
    return parse(found.read_text(encoding="utf-8")) if found.exists() else ()


def owner(settings: Settings, home: Home) -> Login:
    """Of this machine, but for what they send with."""
    secrets, team = home.secrets(), settings.context.team
    return Login(
        id=secrets.member,
        team=team if TEAM.fullmatch(team) else "",
        query=(Hash(password_hash(secrets.member_password)),),
    )


def sharing(settings: Settings, home: Home) -> tuple[Login, ...]:
    """Who uses the store, its owner among them; empty where the owner is alone."""
    found = listed(home)
    if not found:
        return ()
    own = owner(settings, home)
    if {each.id for each in found} == {own.id}:
        return ()
    # What the owner sets and keeps elsewhere holds at once; one hash is in the list alone.
    return tuple(replace(own, ingest=each.ingest) if each.id == own.id else each for each in found)
