"""Where the list of logins is kept: in Secret Manager, or in a file of this machine."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from infra import identity
from infra.identity import IdentityError, Login
from scripts.cloud import Cloud, Parts
from scripts.errors import Failure
from stacks.home import Home, write_private

Logins = tuple[Login, ...]
Work = Callable[[Logins], Logins]


class Keeper(Protocol):
    """Keeps a list. Both raise Failure."""

    def logins(self) -> Logins:
        """Who is on it, by id."""

    def change(self, work: Work) -> None:
        """Make another list of it; two who do so at once lose nothing of each other's."""


@dataclass(frozen=True)
class OnThisMachine:
    """A file among the secrets."""

    home: Home

    @property
    def file(self) -> Path:
        """The list."""
        return self.home.secrets_folder / "members.tsv"

    def logins(self) -> Logins:
        """Who is on it."""
        if not self.file.exists():
            return ()
        return _parsed(self.file.read_text(encoding="utf-8"), str(self.file))

    def change(self, work: Work) -> None:
        """One at a time; a second one waits."""
        self.home.prepare()
        with (self.home.run / "members.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            write_private(self.file, identity.table(work(self.logins())))


@dataclass(frozen=True)
class InSecretManager:
    """Spread over as many secrets as `identity.lists` says; who is on one stays on it."""

    cloud: Cloud

    def _secrets(self) -> tuple[str, ...]:
        return self.cloud.names.members(self.cloud.settings.identity.lists)

    def logins(self) -> Logins:
        """Who is on any of them."""
        everybody = (
            each
            for secret in self._secrets()
            for each in _parsed(self.cloud.newest(secret).text, secret)
        )
        return tuple(sorted(everybody, key=lambda each: each.id))

    def change(self, work: Work) -> None:
        """Only the lists that it concerns are written."""
        lists = {each: self.cloud.newest(each) for each in self._secrets()}
        parts = {secret: _split(version.text) for secret, version in lists.items()}
        there = {key: line for each in parts.values() for key, line in each.items()}
        made = _split(identity.table(work(_parsed("".join(there.values()), "the list"))))
        shortest = min(parts, key=lambda each: len(parts[each]))
        for secret, before in parts.items():
            after = {
                key: line
                for key, line in made.items()
                if key in before or (secret == shortest and key not in there)
            }
            if after != before:
                self.cloud.write(secret, lists[secret], after, split=_split, join=_join)


def _split(text: str) -> Parts:
    return {line.partition("\t")[0]: f"{line}\n" for line in text.splitlines()}


def _join(parts: Parts) -> str:
    return "".join(sorted(parts.values()))


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
