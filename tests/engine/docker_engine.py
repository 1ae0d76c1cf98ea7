"""A Docker engine for the tests: the one that is there, or one of our own.

`docker_engine()` looks for an engine in this order:

1. the one that DOCKER_HOST names;
2. the default socket;
3. as root on Debian or Ubuntu: an own `dockerd` with its own data root and its own socket in a
   temporary folder, stopped and removed at the end (docker.io and iptables are installed by
   apt-get where they are missing).

Otherwise `NoEngineError` says why, and the session fixture skips with that text. An engine that
DOCKER_HOST names and that does not answer is an error and never a reason to start another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException

from tests.debian import NoProgramError, need

DEFAULT_SOCKETS = (
    Path("/var/run/docker.sock"),
    Path.home() / ".docker/run/docker.sock",
)
START_SECONDS = 60.0
STOP_SECONDS = 30.0


class NoEngineError(Exception):
    """No Docker engine can be had here; the text says why and what would help."""


@dataclass(frozen=True)
class Engine:
    """Where the engine answers, as DOCKER_HOST is written, and whether it is ours."""

    host: str
    own: bool

    def client(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.host, timeout=120)


@contextlib.contextmanager
def docker_engine() -> Iterator[Engine]:
    """Yields an engine that answers; raises NoEngineError with the reason otherwise."""
    named = os.environ.get("DOCKER_HOST", "")
    if named:
        if not _answers(named):
            raise NoEngineError(
                f"DOCKER_HOST is {named!r} and nothing answers there; unset it or start"
            )
        yield Engine(named, own=False)
        return
    for socket in DEFAULT_SOCKETS:
        if socket.exists() and _answers(f"unix://{socket}"):
            yield Engine(f"unix://{socket}", own=False)
            return
    _need_programs()
    with _own_engine() as engine:
        yield engine


def _answers(host: str) -> bool:
    try:
        client = docker.DockerClient(base_url=host, timeout=5)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()


def _need_programs() -> None:
    """Makes sure that dockerd and iptables are there, installing them where that is possible."""
    if os.geteuid() != 0:
        raise NoEngineError(
            "no Docker engine answers, and only root may start one: start Docker first"
        )
    try:
        need(("dockerd", "iptables"), ("docker.io", "iptables"))
    except NoProgramError as reason:
        raise NoEngineError(f"no Docker engine answers, and {reason}") from None


@contextlib.contextmanager
def _own_engine() -> Iterator[Engine]:
    """Runs a dockerd in a temporary folder for as long as the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="telemetry-docker-"))
    # Two engines would fight for the bridge and its firewall rules: one at a time per machine.
    with (Path(tempfile.gettempdir()) / "telemetry-dockerd.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        log = (folder / "dockerd.log").open("w")
        process = subprocess.Popen(_dockerd(folder), stdout=log, stderr=subprocess.STDOUT)
        try:
            host = f"unix://{folder / 'docker.sock'}"
            _wait_until_it_answers(host, process, folder / "dockerd.log")
            yield Engine(host, own=True)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()
            _remove(folder)


def _dockerd(folder: Path) -> list[str]:
    return [
        "dockerd",
        f"--host=unix://{folder / 'docker.sock'}",
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'dockerd.pid'}",
        "--log-level=warn",
    ]


def _wait_until_it_answers(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        if _answers(host):
            return
        time.sleep(0.2)
    last = "\n".join(log.read_text().splitlines()[-15:])
    raise NoEngineError(f"dockerd does not answer at {host} after {START_SECONDS:.0f} s:\n{last}")


def _remove(folder: Path) -> None:
    """Removes what the engine left, after unmounting what a killed container may still hold."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    for mount in reversed([line.split()[1] for line in mounts if str(folder) in line]):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)
