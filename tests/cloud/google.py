"""Stand-ins for what a machine in Google's cloud asks: metadata server, Secret Manager, Storage,
Logging."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "token-of-the-service-account"
INSTANCE, ZONE = "1234567890", "europe-west1-b"


@dataclass
class Google:
    """What it would answer. Each secret by its name; one without a version is not there."""

    bundle: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    address: str = "203.0.113.9"
    user_data: str = ""
    logged: list[dict[str, Any]] = field(default_factory=list)
    """Requests to write log entries."""
    half: bool = False
    """Whether the bundle breaks off."""
    broken: set[str] = field(default_factory=set)
    """Of metadata, storage, secrets, logging: what answers 500."""
    asked: list[str] = field(default_factory=list)
    downloads: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        assert self._server
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self, host: str = "127.0.0.1") -> None:
        google = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                google.asked.append(self.path)
                status, body, headers = google.answer(self.path, dict(self.headers.items()))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                broken_off = google.half and "alt=media" in self.path and status == 200
                self.send_header("Content-Length", str(len(body) + (100 if broken_off else 0)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if broken_off else body)

            def do_POST(self) -> None:
                google.asked.append(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = google.write(self.path, dict(self.headers.items()), body)
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, path: str, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers."""
        if path.startswith("/computeMetadata/v1/instance/"):
            if "metadata" in self.broken or headers.get("Metadata-Flavor") != "Google":
                return 500, b"", {}
            if path.endswith("/token"):
                return 200, json.dumps({"access_token": TOKEN, "expires_in": 1}).encode(), {}
            asked = path.removeprefix("/computeMetadata/v1/instance/")
            known = {
                "id": INSTANCE,
                "zone": f"projects/987654321/zones/{ZONE}",
                "attributes/user-data": self.user_data,
                "network-interfaces/0/access-configs/0/external-ip": self.address,
            }
            return (200, known[asked].encode(), {}) if known.get(asked) else (404, b"", {})
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, b"", {}
        if path.startswith("/storage/v1/b/"):
            if "storage" in self.broken:
                return 500, b"", {}
            if not self.bundle:
                return 404, b"", {}
            etag = f'"{hashlib.sha256(self.bundle.encode()).hexdigest()}"'
            if headers.get("If-None-Match") == etag:
                return 304, b"", {"ETag": etag}
            self.downloads += 1
            return 200, self.bundle.encode(), {"ETag": etag}
        if "secrets" in self.broken:
            return 500, b"", {}
        name = path.split("/secrets/")[1].split("/")[0]
        if name not in self.secrets:
            return 404, b"", {}
        data = base64.b64encode(self.secrets[name].encode()).decode()
        payload = {"name": name, "payload": {"data": data, "dataCrc32c": "1"}}
        return 200, json.dumps(payload, indent=2).encode(), {}

    def write(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """The status of what is sent."""
        if path != "/v2/entries:write":
            return 404
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401
        if "logging" in self.broken:
            return 500
        self.logged.append(json.loads(body))
        return 200
