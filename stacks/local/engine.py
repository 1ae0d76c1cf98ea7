"""The container engine: which one it is, and what that changes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.settings import Settings

_USUAL: Final = Path("/var/run/docker.sock")


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How the containers of an engine have to be declared. Names of arguments."""

    replaced_by: tuple[str, ...] = ("healthcheck", "tmpfs", "init")
    """A change of these makes the container anew. The plugin would report the change as made and
    do nothing (newer versions replace by themselves)."""
    ignored: tuple[str, ...] = ()
    """Reported otherwise than declared: compared, they would replace every container at every
    `up`. They are the same on every stack; a change shows once a container is made anew."""


DOCKER: Final = Engine()
PODMAN: Final = Engine(
    # Podman 4 cannot change the limits of a container that runs.
    replaced_by=(*DOCKER.replaced_by, "memory", "memory_swap"),
    # It names the dropped capabilities one by one, adds options to a tmpfs and hides those of logs.
    ignored=("capabilities", "log_opts", "tmpfs"),
)


def engine_of(settings: Settings) -> Engine:
    """The engine that the setting names, else DOCKER_HOST, else what the usual socket leads to."""
    address = settings.docker.host or os.environ.get("DOCKER_HOST") or str(_USUAL.resolve())
    return PODMAN if "podman" in address else DOCKER
