"""Ports that someone else holds, and who that is."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

import psutil

from infra.settings import Settings
from scripts.errors import Failure


@dataclass(frozen=True)
class Taken:
    """A port of ours that another program listens on."""

    setting: str
    port: int
    holder: str


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            address: tuple[object, ...] = tuple(connection.laddr)
            listens = connection.status == psutil.CONN_LISTEN and address[1:2] == (port,)
            if listens and connection.pid:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (pid {process.pid})"
    return "another program (its name is not shown to you; `sudo lsof -i` tells)"


def taken(settings: Settings, ours: frozenset[int]) -> list[Taken]:
    """Which of the configured ports are not to be had; `ours` are held by this stack itself."""
    return [
        Taken(setting, port, _holder(port))
        for setting, port in settings.ports.model_dump(by_alias=True).items()
        if (setting != "prometheus" or settings.own_prometheus)
        and port not in ours
        and not _is_free(port)
    ]


def refuse_taken(settings: Settings, ours: frozenset[int]) -> None:
    """Raises Failure that names each taken port, its holder and the way out."""
    problems = taken(settings, ours)
    if problems:
        lines = [
            f"  port {each.port} (ports.{each.setting}) is held by {each.holder}"
            for each in problems
        ]
        first = problems[0]
        free = (first.port + 10000 - 1024) % 64512 + 1024
        raise Failure(
            "Some ports are taken:\n" + "\n".join(lines) + "\nStop that program, or choose another "
            f"port in settings.yaml, such as\n  ports: {{{first.setting}: {free}}}"
        )
