"""The container engine, by its own command line: what this machine's containers are doing."""

from __future__ import annotations

import os
import shutil
import subprocess

_SECONDS = 60


class EngineAbsentError(Exception):
    """No engine's command is at hand, or the engine does not answer."""


def ask(host: str, *words: str) -> list[str]:
    """The words that `docker WORDS` (or podman) prints. Raises as `run`."""
    return run(host, *words).decode().split()


def run(host: str, *words: str, given: bytes = b"") -> bytes:
    """What `docker WORDS` (or podman) prints. `host`: as `docker.host`; empty: the usual. `given`:
    on standard input, where no list of processes shows it.

    Raises EngineAbsentError where it cannot be asked, or refuses.
    """
    command = shutil.which("docker") or shutil.which("podman")
    if command is None:
        raise EngineAbsentError("neither `docker` nor `podman` is on the PATH")
    environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
    try:
        done = subprocess.run(
            [command, *words],
            input=given,
            capture_output=True,
            timeout=_SECONDS,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineAbsentError(f"`{command}` does not answer ({error})") from None
    if done.returncode != 0:
        raise EngineAbsentError(done.stderr.decode().strip() or f"`{command}` failed")
    return done.stdout
