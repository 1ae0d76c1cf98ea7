"""What the collector keeps that is no queue: records set aside, and damaged queue files.

In the state folder; of containers, in a volume, which one more container reads and changes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

from infra.services import USER
from infra.settings import Settings
from scripts import engine, files, supervise, warehouse
from scripts.errors import Failure
from stacks import stores
from stacks.embedded.processes import Layout
from stacks.home import Home

OPEN = "aside.jsonl"
"""The file that the collector appends to. Others are closed, by it at a size or by us."""
_DAMAGED = ".backup"


@dataclass(frozen=True)
class File:
    """One of them."""

    name: str
    """As its place calls it."""
    shown: str
    """As people find it."""
    bytes: int
    changed: datetime
    """UTC."""

    @property
    def day(self) -> date:
        """Of its newest record, UTC."""
        return self.changed.date()

    @property
    def damaged(self) -> bool:
        """A queue file that could not be read; otherwise records set aside, line by line."""
        return _DAMAGED in self.name

    @property
    def is_open(self) -> bool:
        """The collector appends to it."""
        return Path(self.name).name == OPEN


class Place(Protocol):
    """Where such files are."""

    def files(self) -> list[File]:
        """All, oldest first."""

    def lines(self, file: File) -> Iterator[bytes]:
        """Of records set aside; with their ends."""

    def replace(self, file: File, lines: Iterable[bytes]) -> None:
        """Write it anew, in place: who has it open goes on appending to the same file."""

    def delete(self, file: File) -> None:
        """Gone already is well."""

    def rename(self, file: File, name: str) -> None:
        """Within its folder."""

    def still(self) -> AbstractContextManager[object]:
        """While nothing is appended."""


@dataclass(frozen=True)
class Folder:
    """Of plain processes."""

    home: Home

    def files(self) -> list[File]:
        """All, oldest first."""
        aside = Layout(self.home).aside
        found = self.listed(self.home.queue)
        return [each for each in found if Path(each.name).parent == aside or each.damaged]

    def listed(self, folder: Path) -> list[File]:
        """All of a folder, oldest first."""
        return _sorted(
            File(str(path), str(path), stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))
            for path, stat in files.below(folder)
        )

    def lines(self, file: File) -> Iterator[bytes]:
        """With their ends; none where it is gone since."""
        with suppress(FileNotFoundError), open(file.name, "rb") as stream:
            yield from stream

    def replace(self, file: File, lines: Iterable[bytes]) -> None:
        """In place."""
        kept = list(lines)
        with open(file.name, "r+b") as stream:
            stream.writelines(kept)
            stream.truncate()

    def delete(self, file: File) -> None:
        """Gone already is well."""
        Path(file.name).unlink(missing_ok=True)

    def rename(self, file: File, name: str) -> None:
        """Within its folder."""
        os.replace(file.name, Path(file.name).with_name(name))

    @contextmanager
    def still(self) -> Iterator[None]:
        """The collector does not run meanwhile."""
        supervisor = supervise.Supervisor(Layout(self.home))
        ran = supervisor.alive() and supervisor.halt("collector")
        try:
            yield
        finally:
            if ran:
                supervisor.run("collector")


@dataclass(frozen=True)
class Volume:
    """Of containers. The collector's image has no shell, so ClickHouse's looks into its volume."""

    settings: Settings
    stack: str

    @property
    def name(self) -> str:
        """As the engine calls it."""
        return stores.queue_volume(self.stack)

    def files(self) -> list[File]:
        """All, oldest first."""
        listed = self._run(
            'cd /kept && for file in aside/* queue/*; do if [ -f "$file" ]; then '
            'stat -c "%s %Y %n" "$file"; fi; done'
        )
        found = (line.split(" ", 2) for line in listed.decode().splitlines())
        return _sorted(
            File(name, f"{self.name}:{name}", int(size), datetime.fromtimestamp(int(at), UTC))
            for size, at, name in found
            if name.startswith("aside/") or _DAMAGED in name
        )

    def lines(self, file: File) -> Iterator[bytes]:
        """With their ends."""
        yield from self._run('cat "/kept/$1"', file.name).splitlines(keepends=True)

    def replace(self, file: File, lines: Iterable[bytes]) -> None:
        """In place."""
        self._run('cat > "/kept/$1"', file.name, given=b"".join(lines))

    def delete(self, file: File) -> None:
        """Gone already is well."""
        self._run('rm -f "/kept/$1"', file.name)

    def rename(self, file: File, name: str) -> None:
        """Within its folder."""
        self._run('mv "/kept/$1" "/kept/$(dirname "$1")/$2"', file.name, name)

    @contextmanager
    def still(self) -> Iterator[None]:
        """The collector does not run meanwhile."""
        host, container = self.settings.docker.host, f"telemetry-{self.stack}-collector"
        with self._reached():
            ran = engine.ask(host, "inspect", "--format", "{{.State.Running}}", container)
            engine.ask(host, "stop", container)
        try:
            yield
        finally:
            if ran == ["true"]:
                with self._reached():
                    engine.ask(host, "start", container)
                warehouse.wait(f"http://127.0.0.1:{self.settings.ports.health}/", 60)

    def _run(self, script: str, *arguments: str, given: bytes = b"") -> bytes:
        """What a shell says that has the volume in /kept, and nothing else."""
        host = self.settings.docker.host
        with self._reached():
            [image] = engine.ask(
                host, "inspect", "--format", "{{.Image}}", f"telemetry-{self.stack}-clickhouse"
            )
            alone = ("--network", "none", "--read-only", "--cap-drop", "ALL", "--user", USER)
            return engine.run(
                host,
                *("run", "--rm", "--interactive", *alone, "--volume", f"{self.name}:/kept"),
                *("--entrypoint", "/bin/sh", image, "-euc", script, "sh", *arguments),
                given=given,
            )

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except engine.EngineAbsentError as error:
            raise Failure(
                f"What the collector set aside is in the volume {self.name}, which cannot be "
                f"reached: {error}. See to the container engine, and repeat the command."
            ) from None


def places(settings: Settings, home: Home) -> list[Place]:
    """All of what runs here. Raises Failure where containers run and cannot be reached."""
    if supervise.Supervisor(Layout(home)).alive():
        return [Folder(home)]
    return [Folder(home), *(Volume(settings, stack) for stack in _made(settings, home))]


def set_aside(settings: Settings, home: Home) -> list[tuple[Place, File]]:
    """The files of records set aside, of all places."""
    return [
        (place, file)
        for place in places(settings, home)
        for file in place.files()
        if not file.damaged
    ]


def _made(settings: Settings, home: Home) -> list[str]:
    """Stacks of which there are containers."""
    stacks = stores.stacks(home)
    if not stacks:
        return []
    try:
        there = engine.ask(settings.docker.host, "ps", "--all", "--format", "{{.Names}}")
    except engine.EngineAbsentError as error:
        raise Failure(
            f"What containers set aside cannot be reached: {error}. See to the container engine, "
            "and repeat the command."
        ) from None
    return [stack for stack in stacks if f"telemetry-{stack}-collector" in there]


def _sorted(found: Iterable[File]) -> list[File]:
    return sorted(found, key=lambda each: (each.changed, each.name))
