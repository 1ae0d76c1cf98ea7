"""The state of a member's machine: one folder, outside the clone, that only its owner can read.

`embedded` and `local` share it, so a member moves between them without new secrets or settings.
"""

from __future__ import annotations

import os
import secrets as random
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from infra.secrets import Secrets
from infra.settings import member_file

PROJECT = Path(__file__).resolve().parent.parent
"""The clone."""

CARRIED = ("member", "pseudonym-key", "directory.json")
"""Secrets that make another machine the same installation; passwords are made anew there."""
_FOLDERS = ("secrets", "data", "queue", "log", "run")
_LETTERS = string.ascii_letters
_MEMBER_ALPHABET = string.ascii_lowercase + string.digits


class HomeError(RuntimeError):
    """The state folder cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class Home:
    """Paths of the state folder. Nothing is made before `prepare`."""

    path: Path

    @property
    def here(self) -> bool:
        """Whether the programs run on this machine, so that their files can be reached."""
        return True

    @property
    def secrets_folder(self) -> Path:
        """One file a secret, 0600."""
        return self.path / "secrets"

    @property
    def data(self) -> Path:
        """ClickHouse's data on `embedded`."""
        return self.path / "data"

    @property
    def queue(self) -> Path:
        """The collector's queue on `embedded`."""
        return self.path / "queue"

    @property
    def log(self) -> Path:
        """Logs of the programs."""
        return self.path / "log"

    @property
    def run(self) -> Path:
        """Rendered configuration, pid files, the lock of `up`."""
        return self.path / "run"

    @property
    def paused(self) -> Path:
        """Present while the member has stopped collection."""
        return self.path / "paused"

    @property
    def containers(self) -> Path:
        """Names of the Pulumi stacks that made containers from this folder, one a line."""
        return self.path / "containers"

    @property
    def backups(self) -> Path:
        """Where backups go by themselves: on the same disk, so they do not survive its loss."""
        return self.path / "backups"

    @property
    def backup_place(self) -> str:
        """The same, as people call it."""
        return str(self.backups)

    def lock(self, place: str) -> timedelta:  # noqa: ARG002 (that of an endpoint needs it)
        """How long nobody can delete what was written to a place of backups."""
        return timedelta()

    @property
    def delivered(self) -> Path:
        """Written whenever nothing was seen to wait for ClickHouse."""
        return self.run / "delivered"

    @property
    def cleaned(self) -> Path:
        """Written at the end of a cleanup."""
        return self.run / "cleaned"

    @property
    def evidence(self) -> Path:
        """Signed files that say what was purged."""
        return self.path / "evidence"

    @property
    def copies(self) -> Path:
        """Which copies of what is stored there are, backups and archives (stacks/copies.py)."""
        return self.path / "copies.json"

    def prepare(self) -> None:
        """Make the folders, 0700. Raises HomeError where that cannot be."""
        if self.path == PROJECT or PROJECT in self.path.parents:
            message = (
                f"{self.path} lies in the clone, where `git clean` and archives would take data "
                "and keys along. Set TELEMETRY_HOME to a folder outside it."
            )
            raise HomeError(message)
        try:
            for folder in (self.path, *(self.path / name for name in _FOLDERS)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if folder.stat().st_mode & 0o077:
                    folder.chmod(0o700)
            probe = self.run / f".writable-{os.getpid()}"
            probe.write_bytes(b"x" * 4096)
            probe.unlink()
        except OSError as error:
            message = (
                f"{self.path} cannot be written: {error.strerror or error}. Free space or mend its "
                "permissions, or set TELEMETRY_HOME to another folder."
            )
            raise HomeError(message) from error

    def secrets(self) -> Secrets:
        """This installation's secrets, made at first use and never changed by themselves."""
        return Secrets(
            member=self.secret("member", new_member),
            admin_password=self.secret("clickhouse-admin"),
            ingest_password=self.secret("clickhouse-ingest"),
            member_password=self.secret("clickhouse-member"),
            pseudonym_key=self.secret("pseudonym-key"),
        )

    @property
    def installation(self) -> str:
        """What backups of it are called by: the member; empty where there is none yet."""
        file = self.secrets_folder / "member"
        return file.read_text(encoding="utf-8").strip() if file.exists() else ""

    def carried(self) -> dict[str, str]:
        """Texts that make another machine the same installation, by name."""
        files = (*(self.secrets_folder / name for name in CARRIED), member_file(self.path))
        return {file.name: file.read_text(encoding="utf-8") for file in files if file.exists()}

    def unreached(self) -> tuple[str, ...]:
        """What of it lies where no command from here gets to, and when that goes."""
        return ()

    @property
    def begun(self) -> bool:
        """Whether there may be a store already."""
        return bool(self.installation)

    def lacks(self, carried: Iterable[str]) -> bool:  # noqa: ARG002 (that of an endpoint needs it)
        """Whether something is missing of what a backup of this installation carries."""
        return False

    def adopt(self, installation: str, carried: Mapping[str, str]) -> None:
        """Become the installation that was backed up."""
        write_private(self.secrets_folder / "member", installation)
        for name in CARRIED:
            if name in carried:
                write_private(self.secrets_folder / name, carried[name])
        own = member_file(self.path)
        if own.name in carried and not own.exists():
            write_private(own, carried[own.name])

    def secret(self, name: str, make: Callable[[], str] | None = None) -> str:
        """One secret, made at first use (0600)."""
        file = self.secrets_folder / name
        if not file.exists():
            write_private(file, (make or new_password)())
        return file.read_text(encoding="utf-8").strip()


def find() -> Home:
    """`$TELEMETRY_HOME`, else `${XDG_STATE_HOME:-~/.local/state}/telemetry`."""
    named = os.environ.get("TELEMETRY_HOME")
    if named:
        return Home(Path(named).expanduser().resolve())
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Home((Path(state).expanduser() / "telemetry").resolve())


def write_private(file: Path, text: str) -> bool:
    """Write a file that only its owner reads (0600), whole or not at all; False if it stood so."""
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return False
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)
    return True


def _random(alphabet: str, length: int) -> str:
    return "".join(random.choice(alphabet) for _ in range(length))


def new_member() -> str:
    """The opaque id of one more member."""
    return "m-" + _random(_MEMBER_ALPHABET, 10)


def new_password() -> str:
    """190 bits, letters and digits, a letter first (so YAML can only read it as a string)."""
    return _random(_LETTERS, 1) + _random(_LETTERS + string.digits, 31)
