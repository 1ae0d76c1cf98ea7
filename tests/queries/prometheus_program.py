"""A `prometheus` for the tests: the one on the PATH, else Debian's, installed."""

from __future__ import annotations

import os
import shutil
import subprocess


class NoPrometheusError(Exception):
    """None can be had here; the text says why and what would help."""


def need_prometheus() -> None:
    """Makes sure that there is one, installing it where that is possible."""
    if shutil.which("prometheus"):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoPrometheusError(
            "no prometheus on the PATH, and only root on Debian or Ubuntu may install one"
        )
    # The run level keeps the package from starting a Prometheus of the machine's own.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "prometheus"]
    for command in (["apt-get", "update", "-q"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoPrometheusError(f"no prometheus, and {' '.join(install)} failed: {done.stderr}")
