"""Where backups lie: objects under their own SHA-256, and manifests that say what they are.

`objects/<sha256>` are files as they were written, `manifests/<time>-<sha256>.json` name them; what
is encrypted ends in `.age`. A manifest is written last, so a backup is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from scripts import parquet
from scripts.errors import Failure, Misuse
from stacks.home import PROJECT

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_CHUNK = 1024 * 1024
_OBJECTS, _MANIFESTS, _ENCRYPTED = "objects/", "manifests/", ".age"
_TIME = "%Y%m%dT%H%M%S%fZ"
"""To the microsecond: the order of the names is that in which backups were made."""
_BUCKETS = ("s3://", "gs://")
_IN_USE = timedelta(days=1)
"""So young an object may belong to a backup that is being made, and has no manifest yet."""


@dataclass(frozen=True)
class Lies:
    """A file in a place."""

    bytes: int
    changed: datetime


class Place(Protocol):
    """A folder or a bucket. Names have parts, with slashes between. All raise Failure."""

    @property
    def name(self) -> str:
        """As people call it."""

    def put(self, name: str, file: Path) -> None:
        """Copy a file there, whole or not at all."""

    def local(self, name: str, folder: Path) -> Path:
        """A file from there, on this machine: where it lies, else copied into a folder."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """Its bytes."""

    def names(self, prefix: str) -> dict[str, Lies]:
        """What lies there."""

    def delete(self, names: Iterable[str]) -> None:
        """Remove what is there of these."""


def place(to: str) -> Place:
    """By how people call it."""
    if to.startswith(_BUCKETS):
        return Bucket(to.rstrip("/"))
    if "://" in to:
        raise Misuse(f"{to} is no place for backups: a folder, s3://... or gs://... is.")
    folder = Path(to).expanduser().resolve()
    if folder == PROJECT or PROJECT in folder.parents:
        raise Misuse(
            f"{folder} lies in the clone, where `git clean` would take the backups. Name a folder "
            "outside it."
        )
    return Folder(folder)


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise Failure(f"{name}: {why}. Free space there, mend it, or name another place.") from None


@dataclass(frozen=True)
class Folder:
    """A folder, made at first use, that only its owner reads."""

    path: Path

    @property
    def name(self) -> str:
        """As people call it."""
        return str(self.path)

    def put(self, name: str, file: Path) -> None:
        """Copied and synced, then renamed."""
        to = self.path / name
        with _told(str(to)):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            to.parent.mkdir(mode=0o700, exist_ok=True)
            # One name for all, so that what a killed one leaves is gone with the next.
            part = self.path / ".part"
            try:
                handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with file.open("rb") as source, os.fdopen(handle, "wb") as out:
                    shutil.copyfileobj(source, out, _CHUNK)
                    out.flush()
                    os.fsync(out.fileno())
                part.replace(to)
            finally:
                part.unlink(missing_ok=True)
            parquet.sync_folder(to.parent)

    def local(self, name: str, folder: Path) -> Path:  # noqa: ARG002 (a bucket needs it)
        """Where it lies."""
        return self.path / name

    def chunks(self, name: str) -> Iterator[bytes]:
        """Its bytes."""
        with _told(str(self.path / name)), (self.path / name).open("rb") as source:
            while chunk := source.read(_CHUNK):
                yield chunk

    def names(self, prefix: str) -> dict[str, Lies]:
        """What lies there."""
        with _told(self.name):
            found = {}
            for file in (self.path / prefix).glob("*"):
                stat = file.stat()
                changed = datetime.fromtimestamp(stat.st_mtime, UTC)
                found[f"{prefix}{file.name}"] = Lies(stat.st_size, changed)
            return found

    def delete(self, names: Iterable[str]) -> None:
        """Removed one by one."""
        with _told(self.name):
            for name in names:
                (self.path / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Bucket:
    """A bucket of S3, of what speaks like it, or of Google. Credentials: docs/BACKUP.md."""

    name: str

    @contextlib.contextmanager
    def _store(self) -> Iterator[ObjectStore]:
        from obstore.exceptions import BaseError  # slow to import, and folders do without
        from obstore.store import from_url

        try:
            yield from_url(self.name)
        except (BaseError, OSError, ValueError) as error:
            said = " ".join(str(error).split())[:300]
            raise Failure(
                f"{self.name}: {said}\nCheck its name, that it exists, and the credentials in the "
                "environment: docs/BACKUP.md."
            ) from None

    def put(self, name: str, file: Path) -> None:
        """In parts, where it is large."""
        import obstore

        with self._store() as store:
            obstore.put(store, name, file)

    def local(self, name: str, folder: Path) -> Path:
        """Copied, once."""
        to = folder / name.rpartition("/")[2]
        if to.exists():
            return to
        with _told(str(to)), to.open("wb") as out:
            for chunk in self.chunks(name):
                out.write(chunk)
        return to

    def chunks(self, name: str) -> Iterator[bytes]:
        """Its bytes."""
        import obstore

        with self._store() as store:
            for chunk in obstore.get(store, name).stream(min_chunk_size=_CHUNK):
                yield bytes(chunk)

    def names(self, prefix: str) -> dict[str, Lies]:
        """What lies there."""
        import obstore

        with self._store() as store:
            return {
                each["path"]: Lies(each["size"], each["last_modified"])
                for batch in obstore.list(store, prefix.rstrip("/"))
                for each in batch
            }

    def delete(self, names: Iterable[str]) -> None:
        """All at once."""
        import obstore

        with self._store() as store:
            obstore.delete(store, list(names))


@dataclass(frozen=True)
class Key:
    """What opens an encrypted backup, in the form of age: AGE-SECRET-KEY-1..."""

    text: str = field(repr=False)

    @staticmethod
    def made() -> str:
        """A new one."""
        from pyrage import x25519

        return str(x25519.Identity.generate())

    @staticmethod
    def read(text: str) -> Key:
        """From a key file: lines that begin with # are remarks. Raises Failure."""
        from pyrage import IdentityError, x25519

        lines = [line.strip() for line in text.splitlines() if line[:1] not in ("", "#")]
        try:
            [line] = lines
            x25519.Identity.from_str(line)
        except (ValueError, IdentityError):
            raise Failure(
                "That is no key of a backup: one line that begins with AGE-SECRET-KEY-1. "
                "`telemetry backup --show-key` printed it on the machine that made the backup."
            ) from None
        return Key(line)

    def encrypted(self, text: str) -> bytes:
        """For whoever has this key; the text itself never reaches a disk."""
        import pyrage

        identity = pyrage.x25519.Identity.from_str(self.text)
        found: bytes = pyrage.encrypt(text.encode(), [identity.to_public()])
        return found

    def decrypted(self, file: Path) -> str:
        """The text of a file, likewise. Raises Failure where this is not its key."""
        import pyrage

        identity = pyrage.x25519.Identity.from_str(self.text)
        try:
            found: bytes = pyrage.decrypt(file.read_bytes(), [identity])
        except pyrage.DecryptError as error:
            raise self._wrong(file, error) from None
        return found.decode()

    def encrypt(self, file: Path, to: Path) -> None:
        """For whoever has this key."""
        import pyrage

        identity = pyrage.x25519.Identity.from_str(self.text)
        pyrage.encrypt_file(str(file), str(to), [identity.to_public()])

    def decrypt(self, file: Path, to: Path) -> None:
        """Raises Failure where this is not its key, or the file was changed."""
        import pyrage

        identity = pyrage.x25519.Identity.from_str(self.text)
        try:
            pyrage.decrypt_file(str(file), str(to), [identity])
        except pyrage.DecryptError as error:
            raise self._wrong(file, error) from None

    def _wrong(self, file: Path, error: Exception) -> Failure:
        return Failure(
            f"{file.name} does not open with this key: {error}. Name the key that `telemetry "
            "backup --show-key` printed on the machine that made the backup: --key FILE."
        )


class _Stated(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Object(_Stated):
    """A file of a backup."""

    name: str
    bytes: int


class Entry(_Stated):
    """The rows of a table, or of a day of it."""

    table: str
    day: date | None
    rows: int
    fingerprint: str
    """Of these rows (scripts/backup.py); empty where they were changing just then."""
    objects: tuple[Object, ...]
    """Where they are."""


class Manifest(_Stated):
    """A backup: all that is in it. Times are UTC."""

    format: Literal[1] = 1
    made_at: datetime
    """When the first row was read: what had been stored by then is in it."""
    member: str
    schema_file: str
    """The last one that was applied."""
    newest_event: datetime | None
    keys: str
    """Object with what stacks/home.py calls CARRIED, and settings.yaml; always encrypted."""
    entries: tuple[Entry, ...]

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(each.rows for each in self.entries)

    @property
    def objects(self) -> set[str]:
        """All that must be there."""
        return {self.keys, *(each.name for entry in self.entries for each in entry.objects)}


@dataclass(frozen=True)
class Repository:
    """The backups of one installation in a place."""

    place: Place
    key: Key | None
    work: Path
    """An empty folder for what is on its way."""
    lock: timedelta = timedelta()
    """So long nobody can delete what was written."""

    def put_secret(self, text: str) -> Object:
        """Add an object with a text, encrypted before it reaches any disk."""
        assert self.key is not None
        file = self.work / "secret"
        file.write_bytes(self.key.encrypted(text))
        return self._put(file, _OBJECTS, _ENCRYPTED, encrypt=False)

    def put(self, file: Path, *, encrypt: bool) -> Object:
        """Add an object, and read it back."""
        return self._put(file, _OBJECTS, "", encrypt=encrypt)

    def _put(self, file: Path, begin: str, suffix: str, *, encrypt: bool) -> Object:
        if encrypt:
            assert self.key is not None
            file, plain = file.with_name(f"{file.name}{_ENCRYPTED}"), file
            self.key.encrypt(plain, file)
            plain.unlink()
            suffix += _ENCRYPTED
        digest = parquet.sha256(file)
        name = f"{begin}{digest}{suffix}"
        self.place.put(name, file)
        if self._digest(name) != digest:
            raise Failure(f"{self.place.name}/{name} is not what was written: look at that disk.")
        size = file.stat().st_size
        file.unlink()
        return Object(name=name, bytes=size)

    def _digest(self, name: str) -> str:
        found = hashlib.sha256()
        for chunk in self.place.chunks(name):
            found.update(chunk)
        return found.hexdigest()

    def objects(self) -> dict[str, Lies]:
        """All, by name."""
        return self.place.names(_OBJECTS)

    def manifests(self) -> dict[str, datetime]:
        """Names of all, and when each was written, oldest first."""
        return {name: _written(name) for name in sorted(self.place.names(_MANIFESTS))}

    def write(self, manifest: Manifest, *, encrypt: bool, written: datetime | None = None) -> str:
        """Add it, the last act of a backup; its name. `written`: in the place of one of then."""
        file = self.work / "manifest"
        file.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        stamp = (written or datetime.now(UTC)).strftime(_TIME)
        return self._put(file, f"{_MANIFESTS}{stamp}-", ".json", encrypt=encrypt).name

    def locked_until(self) -> dict[str, datetime]:
        """Of manifests and objects that cannot be deleted yet, when they can."""
        if not self.lock:
            return {}
        there = {**self.place.names(_MANIFESTS), **self.place.names(_OBJECTS)}
        ends = {name: lies.changed + self.lock for name, lies in there.items()}
        now = datetime.now(UTC)
        return {name: end for name, end in ends.items() if end > now}

    def manifest(self, name: str) -> Manifest:
        """Read one. Raises Failure where it is damaged, or of a newer version."""
        file = self.fetched(name)
        try:
            return Manifest.model_validate_json(file.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError):
            raise Failure(
                f"{self.place.name}/{name} is no manifest that this version reads: it was written "
                "by a newer one. Update this one."
            ) from None

    def checked(self, name: str) -> Path:
        """A file from there, as it lies there, not to be changed. Raises Failure where it is
        missing or damaged."""
        file = self.place.local(name, self.work)
        with _told(f"{self.place.name}/{name}"):
            digest = parquet.sha256(file) if file.exists() else ""
        if digest != _digest_in(name):
            wrong = "is damaged: its checksum is another" if digest else "is missing"
            raise Failure(
                f"{self.place.name}/{name} {wrong}. Use another backup (`telemetry restore --list` "
                "shows them), or another copy of this place."
            )
        return file

    def fetched(self, name: str) -> Path:
        """The same, decrypted. Raises Failure."""
        file = self.checked(name)
        if not name.endswith(_ENCRYPTED):
            return file
        if self.key is None:
            raise Failure(
                f"{self.place.name} is encrypted, and its key is not here: name the one that "
                "`telemetry backup --show-key` printed: --key FILE."
            )
        plain = self.work / f"{_digest_in(name)}.plain"
        self.key.decrypt(file, plain)
        return plain

    def secret(self, name: str) -> str:
        """The text of an object that `put_secret` added. Raises Failure."""
        file = self.checked(name)
        if self.key is None:
            raise Failure(f"{self.place.name} is encrypted, and its key is not here: --key FILE.")
        return self.key.decrypted(file)

    def drop(self) -> int:
        """Remove everything; how many backups that were."""
        manifests = self.manifests()
        self.place.delete(manifests)
        self.place.delete(self.objects())
        return len(manifests)

    def prune(self, before: datetime) -> tuple[int, int]:
        """Remove manifests written before, and objects that no other names; how many of both.
        Raises Failure where one of the others cannot be read."""
        manifests, now = self.manifests(), datetime.now(UTC)
        before = min(before, now - self.lock)
        lapsed = [name for name, written in manifests.items() if written < before]
        kept = set().union(
            *(self.manifest(name).objects for name in manifests if name not in lapsed)
        )
        young = now - max(_IN_USE, self.lock)
        idle = [
            name
            for name, lies in self.objects().items()
            if name not in kept and lies.changed < young
        ]
        # First what names objects: an interruption then leaves objects too many, never too few.
        self.place.delete(lapsed)
        self.place.delete(idle)
        return len(lapsed), len(idle)


def _digest_in(name: str) -> str:
    """The SHA-256 that a name holds."""
    return name.rpartition("/")[2].partition(".")[0].rpartition("-")[2]


def _written(name: str) -> datetime:
    stamp = name.removeprefix(_MANIFESTS).partition("-")[0]
    try:
        return datetime.strptime(stamp, _TIME).replace(tzinfo=UTC)
    except ValueError:
        raise Failure(f"{name} is no manifest: move away what does not belong there.") from None
