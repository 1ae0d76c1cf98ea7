"""Who may send and who may ask: the list of logins of a shared store, as plain data.

One line a login, fields between tabs, so that a machine without Python reads it with awk
(infra/host). It holds hashes only; the credentials themselves are shown once and kept nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["member", "coordinator", "auditor"]

ID = re.compile(r"m-[a-z0-9]{10}")
TEAM = re.compile(r"[A-Za-z0-9_-]{0,64}")
SLOTS = ("", ".2")
"""Endings of the two ingest logins that a member may have at once, while one replaces the other."""
_ROLES = ("member", "coordinator", "auditor")
_QUERY_HASH = re.compile(r"[0-9a-f]{64}")
_INGEST_HASH = re.compile(r"[$]2[aby][$][0-9]{2}[$][A-Za-z0-9./]{53}")
"""Nothing else: with a query hash that is none ClickHouse takes no user of the list, and does not
start; and the collector would take an ingest hash that is none for the password itself."""


class IdentityError(ValueError):
    """A list of logins is not as it must be; the text says where."""


@dataclass(frozen=True)
class Hash:
    """Of a credential. `until`: Unix time at which it ends; 0 means that it does not."""

    value: str = field(repr=False)
    until: int = 0

    def holds(self, now: int) -> bool:
        """Whether it still lets anyone in."""
        return bool(self.value) and (self.until == 0 or now < self.until)


NONE = Hash("")
NOBODY = "nobody:$2a$04$" + 53 * "." + "\n"
"""The collector does not start with an empty list, and the last member may be revoked too. No
password is known to have this hash, and the collector takes nothing of such a login."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """Someone who may log in. Everything about them is opaque: names are kept elsewhere."""

    id: str
    """m- and ten characters."""
    role: Role = "member"
    team: str = ""
    """What their events are stamped with; a coordinator of a team sees that team only."""
    query: tuple[Hash, ...] = ()
    """SHA-256 (hex) of the passwords for ClickHouse, two at most, the newest first."""
    ingest: tuple[Hash, Hash] = (NONE, NONE)
    """bcrypt of the passwords for the collector, one for each of SLOTS. Members only."""

    def ingest_name(self, slot: int) -> str:
        """The login at the collector: the id, the slot, and the team after a `+`."""
        return f"{self.id}{SLOTS[slot]}{'+' + self.team if self.team else ''}"


def table(logins: Iterable[Login]) -> str:
    """The list as text: id, role, team, query hashes, ingest hashes; `hash@until` where one ends.

    A field that is empty is a `-`, because a shell would take two tabs for one.
    """
    return "".join(
        "\t".join(
            (
                each.id,
                each.role,
                each.team or "-",
                ",".join(_shown(one) for one in each.query) or "-",
                ",".join(_shown(one) for one in each.ingest),
            )
        )
        + "\n"
        for each in sorted(logins, key=lambda each: each.id)
    )


def _shown(one: Hash) -> str:
    return (f"{one.value}@{one.until}" if one.until else one.value) or "-"


def parse(text: str) -> tuple[Login, ...]:
    """The list from its text. Raises IdentityError naming the line; never shows a hash."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found.append(_login(line))
        except ValueError as error:
            message = f"line {number} of the list of members: {error}"
            raise IdentityError(message) from None
    ids = [each.id for each in found]
    if len(set(ids)) != len(ids):
        raise IdentityError("the list of members has an id twice")
    return tuple(found)


def _login(line: str) -> Login:
    fields = line.split("\t")
    if len(fields) != 5:
        message = f"{len(fields)} fields instead of 5"
        raise ValueError(message)
    identity, role, team, query, ingest = fields
    team = "" if team == "-" else team
    if not ID.fullmatch(identity) or role not in _ROLES or not TEAM.fullmatch(team):
        raise ValueError("no id, role or team")
    slots = [_hash(each, _INGEST_HASH) for each in ingest.split(",")]
    if len(slots) != len(SLOTS):
        raise ValueError("two ingest hashes, or `-` for none")
    return Login(
        id=identity,
        role=role,  # type: ignore[arg-type]
        team=team,
        query=() if query == "-" else tuple(_hash(each, _QUERY_HASH) for each in query.split(",")),
        ingest=(slots[0], slots[1]),
    )


def _hash(text: str, form: re.Pattern[str]) -> Hash:
    if text == "-":
        return NONE
    value, _, until = text.partition("@")
    if not form.fullmatch(value) or not re.fullmatch(r"\d{0,12}", until):
        raise ValueError("no hash")
    return Hash(value, int(until or 0))


def htpasswd(logins: Iterable[Login], now: int) -> str:
    """What the collector checks ingest credentials against. `now`: Unix time."""
    found = "".join(
        f"{each.ingest_name(slot)}:{one.value}\n"
        for each in sorted(logins, key=lambda each: each.id)
        if each.role == "member"
        for slot, one in enumerate(each.ingest)
        if one.holds(now)
    )
    return found or NOBODY
