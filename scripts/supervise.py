"""Talks to the supervisord of the `embedded` stack over its unix socket."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from scripts.errors import Failure
from stacks.embedded.processes import Layout

PROGRAMS = ("clickhouse", "collector")
_STARTED = ("RUNNING", "STARTING", "BACKOFF")


@dataclass(frozen=True)
class State:
    """One program as supervisord sees it."""

    name: str
    state: str
    pid: int
    seconds: int
    detail: str

    @property
    def runs(self) -> bool:
        """Whether it is up."""
        return self.state == "RUNNING"


def socket(layout: Layout) -> Path:
    """supervisord's socket."""
    return layout.socket(Path(tempfile.gettempdir()))


class Supervisor:
    """The running supervisord, or its absence."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._socket = socket(layout)

    def _call(self) -> Any:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        return ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def alive(self) -> bool:
        """Whether one answers."""
        try:
            return bool(self._call().getState()["statename"] == "RUNNING")
        except (OSError, Fault):
            return False

    def start(self) -> None:
        """Start supervisord in the background, with no program running yet."""
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # supervisord would refuse where a killed one left its socket behind.
        self._socket.unlink(missing_ok=True)
        command = [
            str(Path(sys.executable).parent / "supervisord"),
            "-c",
            str(self.layout.supervisor_config),
        ]
        done = subprocess.run(
            command,
            cwd=self.layout.home.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8")},
        )
        if done.returncode != 0 or not _until(self.alive, 10):
            raise Failure(
                f"supervisord did not start: {done.stdout.strip() or 'see its log'} "
                f"({self.layout.home.log / 'supervisord.log'})"
            )

    def stop(self) -> None:
        """Stop all programs and supervisord itself."""
        if "prometheus" in self.states():
            self.halt("collector")  # it hands over what it still holds
        call = self._call()
        call.stopAllProcesses()
        call.shutdown()
        _until(lambda: not self.alive(), 10)

    def states(self) -> dict[str, State]:
        """Every program by name; empty where no supervisord answers."""
        try:
            found = self._call().getAllProcessInfo()
        except (OSError, Fault):
            return {}
        return {
            info["name"]: State(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"],
                seconds=max(0, info["now"] - info["start"]) if info["pid"] else 0,
                detail=info["spawnerr"] or info["description"],
            )
            for info in found
        }

    def ports(self) -> frozenset[int]:
        """Ports that this stack's own programs listen on."""
        held: set[int] = set()
        for family in self.families().values():
            with contextlib.suppress(psutil.Error):
                held |= {
                    connection.laddr.port
                    for process in family
                    for connection in process.net_connections("tcp")
                    if connection.status == psutil.CONN_LISTEN
                }
        return frozenset(held)

    def families(self) -> dict[str, list[psutil.Process]]:
        """The processes of each program that runs: its guard, where it has one, and itself."""
        found = {}
        for name, state in self.states().items():
            with contextlib.suppress(psutil.Error):
                if state.pid:
                    guard = psutil.Process(state.pid)
                    found[name] = [guard, *guard.children(recursive=True)]
        return found

    def memory(self) -> dict[str, int]:
        """Resident bytes of each program and its children."""
        found = {}
        for name, family in self.families().items():
            with contextlib.suppress(psutil.Error):
                found[name] = sum(process.memory_info().rss for process in family)
        return found

    def reload(self) -> list[str]:
        """Take over a changed configuration; restart only what it concerns, and name that."""
        call = self._call()
        [[added, changed, removed]] = call.reloadConfig()
        running = self.states()
        for name in (*removed, *changed):
            call.stopProcessGroup(name)
            call.removeProcessGroup(name)
        for name in (*changed, *added):
            call.addProcessGroup(name)
        for name in changed:
            if name in running and running[name].state in _STARTED:
                call.startProcess(name, False)
        return [*changed, *added]

    def run(self, name: str) -> bool:
        """Start a program unless it runs; whether it had to be started."""
        state = self.states().get(name)
        if state is not None and state.state in _STARTED:
            if state.state != "BACKOFF":
                return False
            # Waiting for its next try: have it now, what stopped it may be mended.
            self._call().stopProcess(name)
        self._call().startProcess(name, False)
        return True

    def halt(self, name: str) -> bool:
        """Stop a program if it runs; whether it did."""
        state = self.states().get(name)
        if state is None or state.state not in _STARTED:
            return False
        self._call().stopProcess(name)
        return True


def log_file(layout: Layout, name: str) -> Path:
    """Where a program's output goes."""
    return layout.home.log / f"{name}.log"


def log_end(log: Path, lines: int = 15) -> str:
    """Its last lines, indented."""
    if not log.exists():
        return "    (empty)"
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 16384))
        text = stream.read().decode(errors="replace")
    return "\n".join(f"    {line[:500]}" for line in text.splitlines()[-lines:])


def orphans(layout: Layout) -> list[psutil.Process]:
    """Programs of this stack whose supervisord was killed: they hold ports and locks."""
    configs = (layout.collector_config, layout.clickhouse_config, layout.prometheus_config)
    marks = [str(path) for path in configs]
    found = []
    for process in psutil.process_iter(["cmdline", "uids"]):
        words = process.info["cmdline"] or []
        mine = process.info["uids"] and process.info["uids"].real == os.getuid()
        if mine and any(
            word == mark or word.endswith(f"={mark}") for word in words for mark in marks
        ):
            found.append(process)
    return found


def end_orphans(layout: Layout) -> list[int]:
    """Stop them as supervisord would, and tell which."""
    processes = orphans(layout)
    for process in processes:
        process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=30)
    for process in stubborn:
        process.kill()
    return [process.pid for process in processes]


def _until(condition: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return bool(condition())
