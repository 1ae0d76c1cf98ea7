"""Whether what waits is on its way, or the same batch is refused again and again.

Read from the collector's own log: each try that failed says why, and when the next one comes. What
is told of the reason is ClickHouse's number for it, since its words may repeat a value.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from infra.settings import Settings
from stacks import stores
from stacks.home import Home

STUCK = timedelta(minutes=3)
"""Failing for so long, without a try that went well."""
_KNOWN = {
    "60": "the tables are not there",
    "81": "the database is not there",
    "395": "the schema is not up to date",
    "403": "it does not take the collector's password",
}
"""Errors that no waiting mends: ClickHouse's numbers, and that of HTTP with which it refuses a
login, since the exporter cannot read what it says then."""
_A_TRY = timedelta(seconds=35)
"""What one may take: the exporter's timeout, and some."""
_FAILED = re.compile(r"^(\S+)\t.*\tExporting failed\. Will retry .*\t(\{.*\})$", re.MULTILINE)
_SECONDS = re.compile(r"([0-9.]+)(ms|s|m|h)(?![a-z])")
_EACH = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_CODE = re.compile(r"\bcode: ([0-9]{1,5})\b|\[HTTP (403)\]", re.IGNORECASE)
_END_BYTES = 512 * 1024


@dataclass(frozen=True)
class Stuck:
    """A batch that is tried in vain."""

    signal: str
    """logs or metrics"""
    since: timedelta
    """At least."""
    code: str
    """ClickHouse's number of the error; empty where it gave no answer."""

    @property
    def said(self) -> str:
        """In words."""
        if self.code in _KNOWN:
            return (
                f"{self.signal} cannot be stored in ClickHouse: {_KNOWN[self.code]}; nothing is "
                "lost. `telemetry up`"
            )
        why = f"refuses the same batch (error {self.code})" if self.code else "does not take it"
        return (
            f"{self.signal} have been waiting for {self.since.total_seconds() // 60:.0f} minutes: "
            f"ClickHouse answers, but {why}; the collector's log says more"
        )


@dataclass(frozen=True)
class _Try:
    at: datetime
    next: datetime
    signal: str
    code: str


def stuck(log: str, waiting: frozenset[str], now: datetime) -> list[Stuck]:
    """For each signal that has something waiting, what is tried in vain until now. `now` in UTC."""
    found = []
    tries = list(_tries(log))
    for signal in sorted(waiting):
        mine = [each for each in tries if each.signal == signal]
        if not mine or mine[-1].next + _A_TRY < now:
            continue
        first = mine[-1]
        for each in reversed(mine):
            if each.next + _A_TRY < first.at:
                break
            first = each
        if now - first.at >= STUCK or mine[-1].code in _KNOWN:
            found.append(Stuck(signal, now - first.at, mine[-1].code))
    return found


def _tries(log: str) -> Iterator[_Try]:
    for match in _FAILED.finditer(log):
        try:
            at = datetime.fromisoformat(match[1])
            said = json.loads(match[2], strict=False)
            wait = sum(float(n) * _EACH[unit] for n, unit in _SECONDS.findall(said["interval"]))
            error, exporter = str(said["error"]), said["otelcol.component.id"]
            signal = str(said["otelcol.signal"])
        except (ValueError, KeyError, TypeError):
            continue
        if exporter == "clickhouse" and at.tzinfo is not None:
            code = _CODE.search(error)
            number = (code[1] or code[2]) if code else ""
            yield _Try(at, at + timedelta(seconds=wait), signal, number)


def log_of(settings: Settings, home: Home, stack: str) -> str:
    """The end of the collector's log; empty where it cannot be read. `stack`: embedded or local."""
    if stack == "embedded":
        return _end(home.log / "collector.log")
    return "\n".join(_of_container(settings.docker.host, name) for name in stores.stacks(home))


def _end(log: Path) -> str:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _END_BYTES))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""


def _of_container(host: str, stack: str) -> str:
    command = shutil.which("docker") or shutil.which("podman")
    if command is None:
        return ""
    words = ("logs", "--since", "30m", "--tail", "2000", f"telemetry-{stack}-collector")
    environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
    try:
        # The collector writes to its standard error, and so does this command then.
        done = subprocess.run(
            [command, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=10,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
