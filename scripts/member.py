"""`telemetry member`: who may send to and ask a store that several people use.

A credential is made here, shown once, and kept nowhere but as a hash. The hashes are fast ones on
purpose: a credential has 190 random bits, which nobody guesses however fast the guesses are, while
a slow hash would let anybody keep the machine busy by logging in wrongly.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import bcrypt

from infra.host import names
from infra.identity import ID, NONE, TEAM, Hash, IdentityError, Login, Role
from infra.secrets import Secrets
from infra.settings import Settings
from scripts import certificates, who
from scripts.certificates import Pair
from scripts.cloud import Cloud
from scripts.console import say
from scripts.credentials import MACHINE, Credentials
from scripts.errors import Failure, Misuse
from scripts.member_list import InSecretManager, Keeper, Logins, OnThisMachine, tidied
from stacks import members
from stacks.home import Home, new_member, new_password

_MOST_OVERLAP = 90 * 86_400
_UNITS = {"d": 86_400, "h": 3600, "m": 60}
_BCRYPT_COST = 4
_CERTIFICATES = 2
"""Client certificates of one member that are let in at once."""
_OWN_INGEST = "otlp-member"
"""The secret by which the owner of a shared machine sends."""
LIBRARY = (
    "ClickHouse as a library, which plain processes run, opens files of its owner to everyone who "
    "may ask it something, so it has one login. Name a `clickhouse` program in settings.yaml "
    "(programs.clickhouse) or use containers (`make local`); or revoke the others."
)
"""Why a machine with it is not shared, and the way out."""
KEYS = ("admin_password", "ingest_password", "pseudonym_key")
"""What the secret `keys` holds, a line each."""


# --- credentials and their hashes


def query_hash(password: str) -> Hash:
    """As ClickHouse compares it."""
    return Hash(hashlib.sha256(password.encode()).hexdigest())


def ingest_hash(password: str) -> Hash:
    """As the collector compares it."""
    return Hash(bcrypt.hashpw(password.encode(), bcrypt.gensalt(_BCRYPT_COST)).decode())


def seconds(overlap: str) -> int:
    """Of a text such as 7d, 12h, 30m or 0. Raises Misuse."""
    match = re.fullmatch(r"(\d{1,6})([dhm])|0", overlap, re.ASCII)
    found = int(match[1]) * _UNITS[match[2]] if match and match[1] else 0
    if match is None or found > _MOST_OVERLAP:
        raise Misuse(f"--overlap takes 7d, 12h, 30m or 0, and at most 90d, not {overlap!r}.")
    return found


def rotated(
    login: Login, *, now: int, overlap: int, query: Hash = NONE, ingest: Hash = NONE
) -> Login:
    """With new credentials; those before hold for `overlap` seconds more, 0 ends them.

    Raises Failure where two hold already: a third would end one before its time.
    """
    until = now + overlap

    def ending(one: Hash) -> Hash:
        return replace(one, until=min(one.until or until, until))

    def refuse_third(holding: tuple[Hash, ...], what: str) -> None:
        if overlap and len(holding) > 1:
            last = moment(min(one.until for one in holding if one.until))
            raise Failure(
                f"Two {what} credentials of {login.id} hold, one of them until {last}. Wait until "
                "then, or end all earlier ones now with --overlap 0."
            )

    made = login
    if query.value:
        holding = tuple(one for one in login.query if one.holds(now))
        refuse_third(holding, "query")
        made = replace(made, query=(query, *(ending(one) for one in holding if overlap)))
    if ingest.value:
        holding = tuple(one for one in login.ingest if one.holds(now))
        refuse_third(holding, "ingest")
        newest = newest_slot(login, now)
        slots = [NONE, NONE]
        slots[0 if newest is None else 1 - newest] = ingest
        if newest is not None and overlap:
            slots[newest] = ending(login.ingest[newest])
        made = replace(made, ingest=(slots[0], slots[1]))
    return made


def newest_slot(login: Login, now: int) -> int | None:
    """Of the ingest credential that holds longest; only older ones have an end."""
    held = [slot for slot, one in enumerate(login.ingest) if one.holds(now)]
    return max(held, key=lambda slot: login.ingest[slot].until or float("inf"), default=None)


def moment(until: int) -> str:
    """A Unix time for people, UTC."""
    return datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%d %H:%M UTC")


# --- what is shown of a login


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A login as it may be shown: never a hash."""

    id: str
    name: str
    """As this person knows them; empty where they do not. The owner of a machine is `you`."""
    role: str
    team: str
    query: tuple[int, ...]
    """Unix times at which the credentials that hold now end; 0: they do not."""
    ingest: tuple[int, ...]
    certificates: tuple[str, ...] = ()
    """When the client certificates that are let in end."""

    def as_json(self) -> dict[str, Any]:
        """Plain data; times as in ISO 8601, null for no end."""

        def ends(found: tuple[int, ...]) -> list[str | None]:
            return [
                datetime.fromtimestamp(each, UTC).isoformat() if each else None for each in found
            ]

        return {
            "id": self.id,
            "name": self.name,
            "role": self.role,
            "team": self.team,
            "query": ends(self.query),
            "ingest": ends(self.ingest),
            "certificates": list(self.certificates),
        }

    @property
    def row(self) -> tuple[str, ...]:
        """For a table, as COLUMNS."""

        def ends(found: tuple[int, ...]) -> str:
            return ", ".join(f"until {moment(each)}" if each else "holds" for each in found)

        shown = (self.id, self.name, self.role, self.team, ends(self.query), ends(self.ingest))
        return (*shown, ", ".join(f"until {each}" for each in self.certificates))


COLUMNS = ("id", "name", "role", "team", "query", "ingest", "certificates")


# --- giving them out


@dataclass(frozen=True)
class _Place:
    """Where members of a store go, and what they need besides credentials."""

    ingest: str
    query: str
    authority: str = ""
    client_authority: Pair | None = None


@dataclass(frozen=True)
class Office:
    """Gives out credentials for one store. Methods raise Failure and Misuse."""

    settings: Settings
    """Of the store."""
    home: Home
    """Of whoever does it: names of people are kept there, and nowhere else."""
    keeper: Keeper
    cloud: Cloud | None = None
    """None: the store is this machine's."""
    clock: Callable[[], float] = field(default=time.time)

    @property
    def _now(self) -> int:
        return int(self.clock())

    @property
    def _owner(self) -> str:
        """The member whose machine it is."""
        return self.home.secrets().member if self.cloud is None else ""

    def find(self, value: str) -> Login:
        """By id, or by the name that is known here."""
        found = [each for each in self.keeper.logins() if each.id in self._ids(value)]
        if not found:
            raise Failure(f"{value!r} has no login here. `telemetry member list` shows who has.")
        if len(found) > 1:
            raise Misuse(f"Several are called {value!r}: name the id of one of them.")
        return found[0]

    def _ids(self, value: str) -> set[str]:
        if ID.fullmatch(value):
            return {value}
        return {each for each, name in who.directory(self.home).items() if name == value}

    def entries(self) -> tuple[Entry, ...]:
        """Everybody on the list."""
        known, now = who.directory(self.home), self._now
        allowed = self._allowed()
        return tuple(
            Entry(
                id=each.id,
                name=known.get(each.id, "you" if each.id == self._owner else ""),
                role=each.role,
                team=each.team,
                query=tuple(one.until for one in each.query if one.holds(now)),
                ingest=tuple(one.until for one in each.ingest if one.holds(now)),
                certificates=tuple(
                    f"{certificates.ends(one):%Y-%m-%d}"
                    for one in allowed
                    if certificates.member(one) == each.id
                ),
            )
            for each in self.keeper.logins()
        )

    def add(self, name: str, role: Role, team: str) -> Credentials:
        """Someone new. Their name goes into the directory of this person only."""
        _check_team(team)
        if not name.strip() or len(name) > 100 or not name.isprintable() or ID.fullmatch(name):
            raise Misuse(f"{name!r} is no name: up to 100 characters that can be printed, no id.")
        if any(each.id in self._ids(name) for each in self.keeper.logins()):
            raise Misuse(
                f"{name!r} has a login. `telemetry member rotate` makes new credentials; for "
                "someone else of that name, add something to it."
            )
        login = Login(id=new_member(), role=role, team=team)
        query, ingest = new_password(), new_password() if role == "member" else ""
        made = rotated(login, now=self._now, overlap=0, **_hashed(query, ingest))
        with self.keeper.alone():
            place = self._place()
            certificate = self._certificate(place, made.id, keep=1)
            logins = self._with_owner(self.keeper.logins())
            self.keeper.write(tidied((*logins, made), self._now))
        who.name(self.home, made.id, name)
        return self._given(place, made, query, ingest, certificate)

    def rotate(
        self, value: str, *, query: bool, ingest: bool, overlap: int, team: str | None = None
    ) -> Credentials:
        """New credentials of these kinds; another team, where one is given."""
        if team is not None:
            _check_team(team)
        passwords = new_password() if query else "", new_password() if ingest else ""
        with self.keeper.alone():
            login = self.find(value)
            if login.id == self._owner:
                raise Misuse(
                    f"{login.id} is you, whose machine this is: your own credentials are made and "
                    "kept in the state folder."
                )
            if ingest and login.role != "member":
                raise Misuse(f"{login.id} has the role {login.role}, which does not send.")
            made = rotated(
                login if team is None else replace(login, team=team),
                now=self._now,
                overlap=overlap,
                **_hashed(*passwords),
            )
            place = self._place()
            certificate = self._certificate(place, made.id, keep=_CERTIFICATES if overlap else 1)
            rest = (each for each in self.keeper.logins() if each.id != made.id)
            self.keeper.write(tidied((*rest, made), self._now))
        return self._given(place, made, *passwords, certificate)

    def revoke(self, value: str) -> tuple[str, bool]:
        """Take a login away: the id, and whether there was one. Rows stay."""
        with self.keeper.alone():
            logins, ids = self.keeper.logins(), self._ids(value)
            there = any(each.id in ids for each in logins)
            identity = self.find(value).id if there or len(ids) != 1 else ids.pop()
            if identity == self._owner:
                raise Misuse(
                    f"{identity} is you, whose machine this is. `telemetry pause` stops it."
                )
            if there:
                self.keeper.write(
                    tidied((each for each in logins if each.id != identity), self._now)
                )
            self._allow(identity, "", keep=0)
        return identity, there

    def _given(
        self, place: _Place, made: Login, query: str, ingest: str, certificate: Pair | None
    ) -> Credentials:
        slot = newest_slot(made, self._now)
        sends = made.role == "member"
        return Credentials(
            stack=self.cloud.names.stack if self.cloud else MACHINE,
            id=made.id,
            role=made.role,
            team=made.team,
            ingest=place.ingest if sends else "",
            query=place.query,
            query_password=query,
            ingest_login=made.ingest_name(slot) if ingest and slot is not None else "",
            ingest_password=ingest,
            certificate_authority=place.authority,
            client_certificate=certificate.certificate if certificate else "",
            client_key=certificate.key if certificate else "",
        )

    # --- the store

    def _place(self) -> _Place:
        """Makes the keys of the installation, where there are none yet."""
        if self.cloud is None:
            ports = self.settings.ports
            return _Place(
                f"http://127.0.0.1:{ports.otlp_http}", f"http://127.0.0.1:{ports.clickhouse_http}"
            )
        if ensure_keys(self.cloud)[1]:
            say("Made the keys of this endpoint: they are in its Secret Manager, and only there.")
        address = f"https://{self.cloud.host()}"
        edge = self.settings.edge
        return _Place(
            ingest=address,
            query=f"{address}/query",
            authority="" if edge.acme else ensure_edge(self.cloud).certificate,
            client_authority=ensure_client_authority(self.cloud)
            if edge.client_certificates
            else None,
        )

    def _with_owner(self, logins: Logins) -> Logins:
        """On a machine that gets shared, its owner needs credentials too."""
        owner = self._owner
        if not owner or any(each.id == owner for each in logins):
            return logins
        return (*logins, own_login(self.settings, self.home))

    # --- client certificates

    def _allowed(self) -> tuple[str, ...]:
        """Certificates that the edge lets in."""
        if self.cloud is None or not self.settings.edge.client_certificates:
            return ()
        return certificates.split(self.cloud.read(self.cloud.names.secret(names.CLIENTS)))

    def _certificate(self, place: _Place, identity: str, *, keep: int) -> Pair | None:
        """A new one that is let in, where members need one."""
        if place.client_authority is None:
            return None
        made = certificates.client(place.client_authority, identity)
        self._allow(identity, made.certificate, keep=keep)
        return made

    def _allow(self, identity: str, fresh: str, *, keep: int) -> None:
        """Of a member, let in the newest `keep`, the fresh one among them."""
        if self.cloud is None or not self.settings.edge.client_certificates:
            return
        secret = self.cloud.names.secret(names.CLIENTS)
        before = certificates.split(self.cloud.read(secret))
        now = datetime.fromtimestamp(self._now, UTC)
        theirs = [each for each in before if certificates.member(each) == identity]
        theirs = [*sorted(theirs, key=certificates.begins), *([fresh] if fresh else [])]
        stays = theirs[-keep:] if keep else []
        after = tuple(
            each
            for each in (*before, *([fresh] if fresh else []))
            if (each in stays or certificates.member(each) != identity)
            and certificates.ends(each) > now
        )
        if after != before:
            self.cloud.write(secret, "".join(after))


def here(settings: Settings, home: Home) -> Office:
    """Of this machine, which several people share."""
    return Office(settings, home, OnThisMachine(home))


def there(cloud: Cloud, home: Home) -> Office:
    """Of a shared endpoint."""
    return Office(cloud.settings, home, InSecretManager(cloud), cloud)


def _hashed(query: str, ingest: str) -> dict[str, Hash]:
    return {
        "query": query_hash(query) if query else NONE,
        "ingest": ingest_hash(ingest) if ingest else NONE,
    }


def _check_team(team: str) -> None:
    # A `-` alone stands for none in the list.
    if team == "-" or not TEAM.fullmatch(team):
        raise Misuse(
            f"{team!r} is no team: up to 64 letters, digits, `-` and `_`, and not a `-` alone."
        )


# --- keys of an installation


def ensure_keys(cloud: Cloud) -> tuple[Secrets, bool]:
    """The endpoint's own passwords and its pseudonym key; and whether they were made just now."""
    secret = cloud.names.secret(names.KEYS)
    text, fresh = cloud.ensure(
        secret, lambda: "".join(f"{name}={new_password()}\n" for name in KEYS)
    )
    return _keys(text, secret), fresh


def keys_of(cloud: Cloud) -> Secrets:
    """The same, to be used. Raises Failure where there are none yet."""
    secret = cloud.names.secret(names.KEYS)
    text = cloud.read(secret)
    if not text:
        raise Failure(
            f"The endpoint has no keys yet: `telemetry member keys --on {cloud.names.stack}`."
        )
    return _keys(text, secret)


def write_keys(cloud: Cloud, secrets: Secrets) -> None:
    """Put these in their place. Only while `alone`."""
    text = "".join(f"{name}={getattr(secrets, name)}\n" for name in KEYS)
    cloud.write(cloud.names.secret(names.KEYS), text)


def _keys(text: str, secret: str) -> Secrets:
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if set(found) != set(KEYS):
        raise Failure(
            f"The secret {secret} must hold {', '.join(KEYS)}, a line each (name=value). Enable "
            "its last good version in Secret Manager."
        )
    return Secrets(member="", member_password="", **found)


def ensure_edge(cloud: Cloud) -> Pair:
    """The CA that the edge's certificate comes from."""
    name = f"Telemetry {cloud.names.prefix} edge CA"
    return _authority(cloud, cloud.names.secret(names.EDGE), name, below=None)


def ensure_client_authority(cloud: Cloud) -> Pair:
    """The CA of client certificates. The machine is given its certificate, never its key."""
    name = f"Telemetry {cloud.names.prefix} client CA"
    found = _authority(cloud, cloud.names.secret(names.CLIENT_CA), name, below=0)
    cloud.ensure(cloud.names.secret(names.CLIENTS), lambda: found.certificate)
    return found


def _authority(cloud: Cloud, secret: str, name: str, *, below: int | None) -> Pair:
    text, _ = cloud.ensure(secret, lambda: certificates.authority(name, below=below).text)
    try:
        return certificates.pair(text)
    except ValueError:
        raise Failure(
            f"The secret {secret} must hold a CA's certificate and its key, in PEM. Enable its "
            "last good version in Secret Manager."
        ) from None


def make_keys(cloud: Cloud) -> bool:
    """All that the endpoint needs and does not have yet; whether it had no keys."""
    with cloud.alone():
        made = ensure_keys(cloud)[1]
        if not cloud.settings.edge.acme:
            ensure_edge(cloud)
        if cloud.settings.edge.client_certificates:
            ensure_client_authority(cloud)
    return made


def rotate_key(cloud: Cloud, which: str) -> None:
    """Another admin or ingest password, or another CA of the edge. Raises Failure."""
    with cloud.alone():
        _rotate_key(cloud, which)


def _rotate_key(cloud: Cloud, which: str) -> None:
    if which == "edge":
        fresh = certificates.authority(f"Telemetry {cloud.names.prefix} edge CA", below=None)
        cloud.write(cloud.names.secret(names.EDGE), fresh.text)
        return
    found, _ = ensure_keys(cloud)
    password = new_password()
    write_keys(
        cloud,
        replace(found, admin_password=password)
        if which == "admin"
        else replace(found, ingest_password=password),
    )


# --- a shared machine


def own_login(settings: Settings, home: Home) -> Login:
    """Of the owner of this machine."""
    ingest = ingest_hash(home.secret(_OWN_INGEST))
    return replace(members.owner(settings, home), ingest=(ingest, NONE))


def sharing(settings: Settings, home: Home) -> Logins:
    """Who uses the store of this machine; empty where its owner is alone. Raises Failure."""
    try:
        return members.sharing(settings, home)
    except IdentityError as error:
        raise Failure(f"{members.file(home)} is damaged: {error}.") from None


def own_credentials(settings: Settings, home: Home) -> Credentials | None:
    """With which the owner of a shared machine sends; None where the collector asks for none."""
    for each in sharing(settings, home):
        if each.id == home.secrets().member:
            return Credentials(
                stack=MACHINE,
                id=each.id,
                role=each.role,
                ingest=f"http://127.0.0.1:{settings.ports.otlp_http}",
                ingest_login=each.ingest_name(0),
                ingest_password=home.secret(_OWN_INGEST),
            )
    return None


def own_authorization(settings: Settings, home: Home) -> str:
    """The HTTP header by which the owner of a shared machine sends; empty where none is asked."""
    found = own_credentials(settings, home)
    return found.authorization if found else ""
