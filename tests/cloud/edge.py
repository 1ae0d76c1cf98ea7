"""The real Caddy with the rendered configuration, and stand-ins for what is behind it."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from infra.edge import caddy
from infra.settings import Settings
from scripts.prepare_tests import CADDY
from tests.cloud.certificates import Authority
from tests.conftest import free_ports, until

JSON = "application/json"


@dataclass
class Behind:
    """A service behind the edge: what came to it, and what it answers."""

    name: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    body: bytes = b"rows\n"
    headers: dict[str, str] = field(default_factory=dict)
    port: int = 0
    open: set[socket.socket] = field(default_factory=set)
    server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        behind = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_version = "ClickHouse/26.8"

            def setup(self) -> None:
                super().setup()
                behind.open.add(self.connection)

            def finish(self) -> None:
                behind.open.discard(self.connection)
                with contextlib.suppress(OSError):
                    super().finish()

            def _reply(self) -> None:
                self.send_response(behind.status)
                for name, value in behind.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(behind.body)))
                self.end_headers()
                self.wfile.write(behind.body)

            def _answer(self) -> None:
                body, whole = b"", True
                if "chunked" in self.headers.get("Transfer-Encoding", ""):
                    while size := int(line := self.rfile.readline() or b"0", 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    whole = line.strip() == b"0" and bool(self.rfile.readline())
                else:
                    length = int(self.headers.get("Content-Length", 0))
                    body = self.rfile.read(length)
                    whole = len(body) == length
                if not whole:
                    self.close_connection = True
                    return
                behind.requests.append(
                    {
                        "method": self.command,
                        "path": self.path,
                        "headers": dict(self.headers.items()),
                        "body": body,
                    }
                )
                self._reply()

            do_GET = do_POST = do_PUT = _answer  # noqa: N815 (http.server names them)

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        for each in list(self.open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@dataclass
class Reply:
    """What curl was answered; status 0 where there was no answer."""

    status: int
    headers: str
    body: str
    error: str


class Edge:
    """Caddy, and what it passes on to."""

    def __init__(
        self, folder: Path, settings: Settings, address: str = "127.0.0.1", ingest: str = ""
    ) -> None:
        self.folder, self.settings = folder, settings
        self.behind = {name: Behind(name) for name in ("ingest", "tokens", "health", "warehouse")}
        for each in self.behind.values():
            each.start()
        self.port, self.plain = free_ports(2)
        self.ca = Authority()
        self.secrets = folder / "secrets"
        (self.secrets / "clients" / "allowed").mkdir(parents=True)
        (self.secrets / caddy.CA_CERTIFICATE).write_text(self.ca.certificate)
        (self.secrets / caddy.CA_KEY).write_text(self.ca.key)
        # A socket's path is short.
        self._sockets = Path(tempfile.mkdtemp(prefix="edge-"))
        ports = {name: f"127.0.0.1:{each.port}" for name, each in self.behind.items()}
        self.placement = caddy.Placement(
            listen=f"127.0.0.1:{self.port}",
            listen_plain=f"127.0.0.1:{self.plain}",
            ingest=ingest or ports["ingest"],
            ingest_tokens=ports["tokens"],
            health=ports["health"],
            warehouse=f"http://{ports['warehouse']}",
            secrets=str(self.secrets),
            data=str(folder / "data"),
            log=str(folder / "log"),
            admin=str(self._sockets / "admin"),
        )
        self.config = folder / "caddy.json"
        self.address = address
        self.errors = folder / "stderr"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {"HOME": str(folder)}

    def start(self, config: dict[str, Any] | None = None) -> None:
        found = config or caddy.config(
            self.settings, self.placement, address=self.address, ca="own"
        )
        self.config.write_text(caddy.render(found))
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [CADDY, "run", "--config", self.config],
                stdout=errors,
                stderr=errors,
                env=self.environment,
            )
        until(self._listens)
        for name in {self.address, self.settings.edge.domain} - {""}:
            until(partial(self._has_certificate, name))
        for log in (self.folder / "log").iterdir():
            log.write_text("")

    def reload(self) -> None:
        subprocess.run(
            [
                *(CADDY, "reload", "--force", "--config", self.config),
                *("--address", f"unix/{self.placement.admin}"),
            ],
            check=True,
            capture_output=True,
        )

    def _listens(self) -> bool:
        assert self.process
        assert self.process.poll() is None, self.errors.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _has_certificate(self, name: str) -> bool:
        """Whether there is one by now, whoever has to show another."""
        return "internal error" not in self.curl("/", host=name).error

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(20)
        for each in self.behind.values():
            each.stop()
        shutil.rmtree(self._sockets)

    def curl(self, path: str, *words: str, host: str = "") -> Reply:
        """Ask for a path; words are curl's."""
        name = host or self.address
        command = [
            *("curl", "-sS", "-i", "--max-time", "30", "--path-as-is"),
            *("--cacert", str(self.secrets / caddy.CA_CERTIFICATE)),
            *("--connect-to", f"{name}:{self.port}:127.0.0.1:{self.port}"),
            *(() if "Content-Type" in str(words) else ("-H", f"Content-Type: {JSON}")),
            *words,
            f"https://{name}:{self.port}{path}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
        while head.startswith("HTTP/1.1 100"):
            head, _, body = body.partition("\n\n")
        status = int(head.split()[1]) if head.startswith("HTTP/") else 0
        return Reply(status, head.lower(), body, done.stderr)

    def log(self, name: str = caddy.ACCESS_LOG) -> list[dict[str, Any]]:
        """Its lines."""
        file = self.folder / "log" / name
        text = file.read_text() if file.exists() else ""
        return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def edge(folder: Path, settings: Settings, **options: Any) -> Iterator[Edge]:
    """One that runs."""
    found = Edge(folder, settings, **options)
    try:
        found.start()
        yield found
    finally:
        found.stop()
