"""A stack of its own for a measurement: a state folder, ports, and this machine's caches."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from infra.collector.config import collector_config, render
from infra.settings import Settings, load
from scripts import warehouse
from scripts.console import say
from scripts.supervise import Supervisor
from stacks.embedded.processes import Layout, placement
from stacks.home import PROJECT, Home
from tests.conftest import PORTS, TELEMETRY, free_ports

_CACHES = {
    "GOCACHE": ["go", "env", "GOCACHE"],
    "GOMODCACHE": ["go", "env", "GOMODCACHE"],
    "npm_config_cache": ["npm", "config", "get", "cache"],
    "PIP_CACHE_DIR": [sys.executable, "-m", "pip", "cache", "dir"],
}
"""Variable that names a cache, and who tells where this machine has it."""


def timed(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    """Run it; seconds that it took."""
    say(f"$ {' '.join(command)}")
    began = time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return time.monotonic() - began


def environment(folder: Path, *, cold: bool, settings: dict[str, Any]) -> dict[str, str]:
    """A member's environment with a state folder and ports of its own."""
    state = folder / "state"
    state.mkdir()
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    (state / "settings.yaml").write_text(yaml.safe_dump({"ports": ports, **settings}))
    caches = {
        name: str(folder / name)
        if cold
        else subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        for name, asked in _CACHES.items()
    }
    # Go keeps a module cache read-only, and then nobody could remove the folder.
    flags = {"GOFLAGS": "-modcacherw"} if cold else {}
    home = {"HOME": str(folder), "TELEMETRY_HOME": str(state)}
    return {**os.environ, **caches, **flags, **home}


@dataclass(frozen=True)
class Stack:
    """One that runs."""

    settings: Settings
    home: Home

    def families(self) -> dict[str, list[psutil.Process]]:
        """The processes of each supervised program."""
        return Supervisor(Layout(self.home)).families()

    def cpu(self) -> dict[str, float]:
        """CPU seconds that each has used so far."""
        found = {}
        for name, family in self.families().items():
            times = [process.cpu_times() for process in family]
            found[name] = sum(each.user + each.system for each in times)
        return found

    def apply(self, config: dict[str, Any]) -> None:
        """Restart the collector with another configuration."""
        layout = Layout(self.home)
        layout.collector_config.write_text(render(config), encoding="utf-8")
        supervisor = Supervisor(layout)
        supervisor.halt("collector")
        supervisor.run("collector")
        assert warehouse.wait(f"http://127.0.0.1:{self.settings.ports.health}/", 60)

    @contextmanager
    def without_fsync(self) -> Iterator[None]:
        """Meanwhile as with `queue.fsync: false`."""
        where = placement(self.settings, Layout(self.home))
        queue = self.settings.queue.model_copy(update={"fsync": False})
        changed = self.settings.model_copy(update={"queue": queue})
        self.apply(collector_config(changed, where))
        yield
        self.apply(collector_config(self.settings, where))


@contextmanager
def running(**settings: Any) -> Iterator[Stack]:
    """Start one, and stop it again whatever happens."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variables = environment(folder, cold=False, settings=settings)
        home = Home(Path(variables["TELEMETRY_HOME"]))
        try:
            timed([str(TELEMETRY), "up"], PROJECT, variables)
            yield Stack(load(PROJECT, home.path), home)
        finally:
            timed([str(TELEMETRY), "down"], PROJECT, variables)
