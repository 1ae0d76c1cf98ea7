"""Programs of Debian that tests need, installed where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence


class NoProgramError(Exception):
    """A program is not there and cannot be had; the text says why."""


def need(programs: Sequence[str], packages: Sequence[str]) -> None:
    """Make sure that these programs are there; as root with apt-get they are installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        message = f"{', '.join(missing)} not found, and only root with apt-get may install it"
        raise NoProgramError(message)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "-q"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = f"{' '.join(install)} failed: {done.stderr}"
        raise NoProgramError(message)
