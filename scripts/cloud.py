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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from infra.host.names import LOCK, Names
from infra.settings import Settings, load_cloud
from scripts.console import say
from scripts.errors import Failure, Misuse
from stacks.home import PROJECT

SECRET_BYTES = 64 * 1024
"""Most that Secret Manager takes in one version."""
_SECONDS = 120
_TUNNEL_SECONDS = 30
_KEPT = 2
_LOCK, _HEAD, _FREE = "telemetry-lock", "telemetry-head.", "free"
"""Annotations of the secret LOCK."""
_LOCK_SECONDS = 60
"""Longest that a change takes."""
_CLICKHOUSE_HTTP = 8123


class _AbsentError(Failure):
    """Google knows no such thing, or no version of it."""


class _UnreadableError(Failure):
    """What is asked for is not as it would have to be: another ETag, a version that is gone."""


@dataclass
class Cloud:
    """One shared endpoint. Everything raises Failure with the mend."""

    settings: Settings
    names: Names
    _heads: dict[str, int] | None = None
    """While nobody else may write: the number that each secret's newest version is known to have
    at least. Google promises a version to who asks for it by number; `latest` may lag behind."""

    # --- secrets

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else changes a secret meanwhile; waits for one who is at it.

        Secret Manager adds a version without asking what was there. But it changes a secret's
        annotations only if its ETag is the one that was read, so one of them is the lock. Who
        holds it and dies is waited for a minute.
        """
        lock = self.names.secret(LOCK)
        held = self._taken(lock)
        self._heads = {
            key.removeprefix(_HEAD): int(value)
            for key, value in held[1].items()
            if key.startswith(_HEAD)
        }
        try:
            yield
        finally:
            heads = [f"{_HEAD}{secret}={number}" for secret, number in self._heads.items()]
            self._heads = None
            try:
                self._annotate(lock, held[0], f"{_LOCK}={_FREE}", *heads)
            except _UnreadableError:
                say("This took so long that someone else went on: check `telemetry member list`.")

    def _taken(self, lock: str) -> tuple[str, dict[str, str]]:
        """Take the lock; its ETag and annotations since."""
        seen, since, told = "", time.monotonic(), False
        while True:
            etag, annotations = self._annotated(self._gcloud("secrets", "describe", lock))
            if etag != seen:
                seen, since = etag, time.monotonic()
            free = annotations.get(_LOCK, _FREE) == _FREE
            if free or time.monotonic() - since > _LOCK_SECONDS:
                try:
                    return self._annotate(lock, etag, f"{_LOCK}={os.urandom(8).hex()}")
                except _UnreadableError:  # someone was faster, or what we read was old
                    continue
            if not told:
                say("Someone else changes the endpoint's secrets at this moment; waiting.")
                told = True
            time.sleep(1)

    def _annotate(self, secret: str, etag: str, *pairs: str) -> tuple[str, dict[str, str]]:
        told = self._gcloud(
            "secrets",
            "update",
            secret,
            f"--update-annotations={','.join(pairs)}",
            f"--etag={etag}",
        )
        return self._annotated(told)

    def _annotated(self, found: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        return str(found.get("etag", "")), dict(found.get("annotations", {}))

    def read(self, secret: str) -> str:
        """What a secret holds; empty where it has no version yet, or an empty line was put there
        because none was left."""
        try:
            number, text = self._accessed(secret, "latest")
        except _AbsentError:
            number, text = 0, ""
        known = (self._heads or {}).get(self._short(secret), 0)
        if number < known:
            # The secret itself was made anew where it is not there.
            with suppress(_AbsentError):
                text = self._accessed(secret, str(known))[1]
        return text if text.strip() else ""

    def _short(self, secret: str) -> str:
        return secret.removeprefix(f"{self.names.prefix}-")

    def _accessed(self, secret: str, version: str) -> tuple[int, str]:
        found = self._gcloud("secrets", "versions", "access", version, f"--secret={secret}")
        data = str(found["payload"].get("data", ""))
        # `gcloud` prints it in the alphabet for URLs.
        text = base64.urlsafe_b64decode(data.replace("+", "-").replace("/", "_"))
        return _number(found), text.decode()

    def ensure(self, secret: str, make: Callable[[], str]) -> tuple[str, bool]:
        """What a secret holds, and whether it was made just now."""
        found = self.read(secret)
        if found:
            return found, False
        made = make()
        self.write(secret, made)
        return made, True

    def write(self, secret: str, text: str) -> None:
        """A new version. Older ones are destroyed, but for the last. Only while `alone`."""
        assert self._heads is not None
        size = len(text.encode())
        if size > SECRET_BYTES:
            raise Failure(
                f"The secret {secret} would be {size:,} bytes, and Secret Manager takes "
                f"{SECRET_BYTES:,}. A list of members is spread by `identity.lists`: raise it by "
                f"one, `pulumi up -s {self.names.stack}`, and repeat. Client certificates of "
                "members who left go by `telemetry member revoke`."
            )
        made = self._gcloud("secrets", "versions", "add", secret, "--data-file=-", given=text)
        self._heads[self._short(secret)] = _number(made)
        self._prune(secret, _number(made))

    def _prune(self, secret: str, newest: int) -> None:
        """Destroy versions that nobody needs: all but the last two."""
        try:
            listed = self._gcloud("secrets", "versions", "list", secret, "--filter=state:ENABLED")
            for number in sorted(_number(each) for each in listed):
                if number <= newest - _KEPT:
                    version = str(number)
                    self._gcloud("secrets", "versions", "destroy", version, f"--secret={secret}")
        except Failure as error:
            say(f"Older versions of the secret {secret} could not be destroyed: {error}")

    # --- where it is

    def host(self) -> str:
        """Its domain, else its address."""
        if self.settings.edge.domain:
            return self.settings.edge.domain
        zone = f"--zone={self.settings.cloud.zone_name}"
        found = self._gcloud("compute", "instances", "describe", self.names.instance, zone)
        try:
            return str(found["networkInterfaces"][0]["accessConfigs"][0]["natIP"])
        except (KeyError, IndexError, TypeError):
            raise Failure(
                f"The machine {self.names.instance} has no address to the outside: "
                f"`pulumi up -s {self.names.stack}` gives it back."
            ) from None

    @contextmanager
    def tunnel(self) -> Iterator[int]:
        """A port of this machine that leads to ClickHouse's, through Google's IAP."""
        port = free_port()
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
                "If the newest version of a secret was disabled or destroyed by hand, enable or "
                f"add one in Secret Manager, and repeat. Google says: {told}"
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


def _number(found: Mapping[str, Any]) -> int:
    return int(str(found["name"]).rpartition("/")[2])


def _environment() -> dict[str, str]:
    """Its own log would otherwise keep what it prints."""
    return {
        **os.environ,
        "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "1",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    }


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _leave(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)
