"""Where the list of logins is kept: in Secret Manager, or in a file of this machine."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from infra import identity
from infra.identity import IdentityError, Login
from scripts.cloud import Cloud
from scripts.errors import Failure
from stacks import members
from stacks.home import Home, write_private

Logins = tuple[Login, ...]


class Keeper(Protocol):
    """Keeps a list. Everything raises Failure."""

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else changes it meanwhile."""

    def logins(self) -> Logins:
        """Who is on it."""

    def write(self, logins: Iterable[Login]) -> None:
        """Put these in its place. Only while `alone`."""


@dataclass(frozen=True)
class OnThisMachine:
    """A file among the secrets."""

    home: Home

    @property
    def file(self) -> Path:
        """The list."""
        return members.file(self.home)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A second one waits."""
        self.home.prepare()
        with (self.home.run / "members.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def logins(self) -> Logins:
        """Who is on it."""
        if not self.file.exists():
            return ()
        return _parsed(self.file.read_text(encoding="utf-8"), str(self.file))

    def write(self, logins: Iterable[Login]) -> None:
        """Whole or not at all."""
        write_private(self.file, identity.table(logins))


@dataclass(frozen=True)
class InSecretManager:
    """Spread over as many secrets as `identity.lists` says; who is on one stays on it."""

    cloud: Cloud

    def alone(self) -> AbstractContextManager[None]:
        """For all secrets of the endpoint."""
        return self.cloud.alone()

    def _lists(self) -> dict[str, Logins]:
        secrets = self.cloud.names.members(self.cloud.settings.identity.lists)
        return {each: _parsed(self.cloud.read(each), each) for each in secrets}

    def logins(self) -> Logins:
        """Who is on any of them."""
        everybody = (each for found in self._lists().values() for each in found)
        return tuple(sorted(everybody, key=lambda each: each.id))

    def write(self, logins: Iterable[Login]) -> None:
        """Only the lists that it concerns are written; who is new comes on the shortest."""
        lists = self._lists()
        place = {each.id: secret for secret, found in lists.items() for each in found}
        made: dict[str, list[Login]] = {secret: [] for secret in lists}
        for each in sorted(logins, key=lambda each: each.id not in place):
            shortest = min(made, key=lambda secret: len(made[secret]))
            made[place.get(each.id, shortest)].append(each)
        for secret, found in made.items():
            if identity.table(found) != identity.table(lists[secret]):
                self.cloud.write(secret, identity.table(found))


def _parsed(text: str, where: str) -> Logins:
    try:
        return identity.parse(text)
    except IdentityError as error:
        raise Failure(f"{where} is damaged: {error}.") from None


def tidied(logins: Iterable[Login], now: int) -> Logins:
    """Without what has ended: a hash that lets nobody in need not lie about."""
    return tuple(
        Login(
            id=each.id,
            role=each.role,
            team=each.team,
            query=tuple(one for one in each.query if one.holds(now)),
            ingest=(
                each.ingest[0] if each.ingest[0].holds(now) else identity.NONE,
                each.ingest[1] if each.ingest[1].holds(now) else identity.NONE,
            ),
        )
        for each in logins
    )
