"""The shared endpoint's project, by the `gcloud` command: its secrets, its address, its tunnel.

What is secret goes in by standard input and comes out by a pipe: no list of processes, no
environment and no log of `gcloud` ever holds it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from infra.host.names import Names
from infra.settings import Settings, load_cloud
from scripts.console import say
from scripts.errors import Failure, Misuse
from stacks.home import PROJECT

SECRET_BYTES = 64 * 1024
"""Most that Secret Manager takes in one version."""
_SECONDS = 120
_TUNNEL_SECONDS = 30
_KEPT = 2
_KEPT_MINUTES = 10
_CLICKHOUSE_HTTP = 8123

Parts = dict[str, str]
"""What a secret is made of, by key: members by id, certificates by themselves. In order."""


class _AbsentError(Failure):
    """Google knows no such thing, or no version of it."""


class _UnreadableError(Failure):
    """The version was destroyed or disabled."""


@dataclass(frozen=True)
class Version:
    """Of a secret. `number` is 0 where there is none yet."""

    number: int
    text: str = field(default="", repr=False)


@dataclass(frozen=True)
class Cloud:
    """One shared endpoint. Everything raises Failure with the mend."""

    settings: Settings
    names: Names

    # --- secrets

    def newest(self, secret: str) -> Version:
        """What a secret holds now."""
        try:
            return self._accessed(secret, "latest")
        except _AbsentError:
            return Version(0)

    def _accessed(self, secret: str, version: str) -> Version:
        found = self._gcloud("secrets", "versions", "access", version, f"--secret={secret}")
        data = str(found["payload"].get("data", ""))
        # `gcloud` prints it in the alphabet for URLs.
        text = base64.urlsafe_b64decode(data.replace("+", "-").replace("/", "_"))
        return Version(_number(found), text.decode())

    def ensure(self, secret: str, make: Callable[[], str]) -> tuple[str, bool]:
        """What a secret holds, and whether it was made just now. Of two who make it at the same
        moment, the first one's is kept."""
        found = self.newest(secret)
        if found.number:
            return found.text, False
        made = make()
        number = self.add(secret, made)
        first = self._between(secret, 0, number)
        if first and first[0] != made:
            self.add(secret, first[0])
            return first[0], False
        return made, True

    def add(self, secret: str, text: str) -> int:
        """A new version, and its number. Older ones are destroyed, but for the last."""
        size = len(text.encode())
        if size > SECRET_BYTES:
            raise Failure(
                f"The secret {secret} would be {size:,} bytes, and Secret Manager takes "
                f"{SECRET_BYTES:,}. A list of members is spread by `identity.lists`: raise it by "
                "one, `pulumi up -s "
                f"{self.names.stack}`, and repeat. Client certificates of members who left go by "
                "`telemetry member revoke`."
            )
        made = self._gcloud("secrets", "versions", "add", secret, "--data-file=-", given=text)
        self._prune(secret)
        return _number(made)

    def write(
        self,
        secret: str,
        base: Version,
        after: Parts,
        *,
        split: Callable[[str], Parts],
        join: Callable[[Parts], str],
    ) -> None:
        """Write what was made of `base`, so that two who do so at the same moment lose nothing.

        Secret Manager writes without asking what was there, but it numbers versions. Where ours
        does not follow the one it was made of, someone wrote between: then what each version
        changed is put together, and written again. What one of them took out stays out.
        """
        before = split(base.text)
        expected = base.number + 1
        number = self.add(secret, join(after))
        while number != expected:
            others = self._between(secret, base.number, number)
            after = merged(before, [*map(split, others), after])
            expected = number + 1
            number = self.add(secret, join(after))

    def _between(self, secret: str, after: int, before: int) -> list[str]:
        """Versions between two, oldest first; those that are gone are left out."""
        found = []
        for number in range(after + 1, before):
            try:
                found.append(self._accessed(secret, str(number)).text)
            except (_AbsentError, _UnreadableError):
                continue
        return found

    def _prune(self, secret: str) -> None:
        """Destroy versions that nobody needs: not the last two, and none of a few minutes ago,
        which someone who writes at this moment may have to put together with theirs."""
        try:
            listed = self._gcloud("secrets", "versions", "list", secret, "--filter=state:ENABLED")
            numbered = sorted(listed, key=_number)
            recently = datetime.now(UTC) - timedelta(minutes=_KEPT_MINUTES)
            for each in numbered[:-_KEPT]:
                if _moment(each["createTime"]) < recently:
                    number = str(_number(each))
                    self._gcloud("secrets", "versions", "destroy", number, f"--secret={secret}")
        except Failure as error:
            say(f"Older versions of the secret {secret} could not be destroyed: {error}")

    # --- where it is

    def host(self) -> str:
        """Its domain, else its address."""
        return self.settings.edge.domain or str(
            self._gcloud(
                "compute",
                "addresses",
                "describe",
                self.names.address,
                f"--region={self.settings.cloud.region}",
            )["address"]
        )

    @contextmanager
    def tunnel(self) -> Iterator[int]:
        """A port of this machine that leads to ClickHouse's, through Google's IAP."""
        port = _free_port()
        words = self._command(
            "compute",
            "start-iap-tunnel",
            self.names.instance,
            str(_CLICKHOUSE_HTTP),
            f"--local-host-port=localhost:{port}",
            f"--zone={self.settings.cloud.zone_name}",
        )
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(),
            start_new_session=True,  # a group of its own, so that what it starts ends with it
        )
        before = signal.signal(signal.SIGTERM, _leave)
        try:
            end = time.monotonic() + _TUNNEL_SECONDS
            while not _listens(port):
                if process.poll() is not None:
                    assert process.stderr is not None
                    self._refuse(process.stderr.read())
                if time.monotonic() > end:
                    raise Failure(
                        f"The tunnel to {self.names.instance} does not open after "
                        f"{_TUNNEL_SECONDS} s. Does the machine run? `gcloud compute instances "
                        f"list --project={self.names.project}` tells."
                    )
                time.sleep(0.1)
            yield port
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            signal.signal(signal.SIGTERM, before)

    # --- gcloud

    def _command(self, *words: str) -> list[str]:
        program = shutil.which("gcloud")
        if program is None:
            raise Failure(
                "`gcloud` is not on the PATH. Install the Google Cloud CLI "
                "(https://cloud.google.com/sdk/docs/install), then `gcloud auth login`."
            )
        return [program, *words, f"--project={self.names.project}"]

    def _gcloud(self, *words: str, given: str = "") -> Any:
        """What it answers, from JSON. `given`: on standard input."""
        command = [*self._command(*words), "--format=json", "--quiet"]
        try:
            done = subprocess.run(
                command,
                input=given,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                env=_environment(),
            )
        except (OSError, subprocess.SubprocessError):
            raise Failure(
                f"`gcloud {' '.join(words[:3])}` did not answer within {_SECONDS} s. Is the "
                "network there? Repeat the command."
            ) from None
        if done.returncode != 0:
            self._refuse(done.stderr)
        try:
            return json.loads(done.stdout or "null")
        except ValueError:
            raise Failure(
                f"`gcloud {' '.join(words[:3])}` did not answer in JSON. Is it a current one? "
                "`gcloud components update` brings it up to date."
            ) from None

    def _refuse(self, said: str) -> NoReturn:
        """Raise Failure by what `gcloud` said."""
        project, stack = self.names.project, self.names.stack
        told = " ".join(said.split())[:600]
        if re.search(r"gcloud auth login|Reauthentication|invalid_grant|UNAUTHENTICATED", said):
            raise Failure("gcloud is not logged in, or no longer. Run `gcloud auth login`.")
        if re.search(r"SERVICE_DISABLED|has not been used in project|API .* not enabled", said):
            raise Failure(
                f"An API is off in the project {project}: `pulumi up -s {stack}` switches on what "
                f"is needed; after the first time, wait some minutes. Google says: {told}"
            )
        if re.search(r"PERMISSION_DENIED|4033|not authorized|HttpError accessing.*403", said):
            raise Failure(
                f"Google does not let you do that in the project {project}. Those who may are "
                "named in `cloud.administrators`; after a change and `pulumi up -s "
                f"{stack}`, wait a minute. `gcloud auth list` shows who you are. "
                f"Google says: {told}"
            )
        if re.search(r"NOT_FOUND|was not found|notFound", said):
            raise _AbsentError(
                f"That is not there in the project {project}: `pulumi up -s {stack}` makes it. "
                f"Google says: {told}"
            )
        if "FAILED_PRECONDITION" in said:
            raise _UnreadableError(
                "The newest version was disabled or destroyed by hand. Enable one in Secret "
                f"Manager, and repeat. Google says: {told}"
            )
        raise Failure(f"gcloud failed: {told or 'it does not say why'}")


def open_cloud(stack: str) -> Cloud:
    """By the name of its Pulumi stack. Raises Misuse, SettingsError."""
    check_name(stack)
    settings = load_cloud(PROJECT, stack)
    return Cloud(settings, Names(stack, settings.cloud.project))


def check_name(stack: str) -> None:
    """Raises Misuse unless a Pulumi stack of that name is a shared endpoint."""
    if not re.fullmatch(r"cloud(-[a-z0-9]+)*", stack):
        raise Misuse(
            f"--on takes the Pulumi stack of a shared endpoint, `cloud` or `cloud-...`, not "
            f"{stack!r}. Without --on, this machine is meant."
        )


def merged(before: Mapping[str, str], versions: Sequence[Mapping[str, str]]) -> Parts:
    """What several versions made of the same beginning, together. A later one wins; what one of
    them took out stays out."""
    gone = {key for each in versions for key in before if key not in each}
    result = dict(before)
    for each in versions:
        result |= {key: text for key, text in each.items() if before.get(key) != text}
    return {key: text for key, text in result.items() if key not in gone}


def _number(found: Mapping[str, Any]) -> int:
    return int(str(found["name"]).rpartition("/")[2])


def _moment(text: str) -> datetime:
    """Google writes up to nine digits of a second."""
    return datetime.fromisoformat(re.sub(r"(\.\d+)?Z$", "+00:00", text))


def _environment() -> dict[str, str]:
    """Its own log would otherwise keep what it prints."""
    return {
        **os.environ,
        "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "1",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _leave(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)
