"""Stand-ins for what the machine asks of Google: metadata server, Secret Manager, Storage.

They answer the requests that infra/host makes in the form of the real ones, refuse what those would
refuse (no token, another one, a secret without a version), and count what was asked. Google's own
cannot be had here.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

_SECRET = re.compile(
    r"/v1/projects/(?P<project>[^/]+)/secrets/(?P<name>[^/]+)/versions/latest:access"
)
_OBJECT = re.compile(r"/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>[^/?]+)")
_TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"


@dataclass
class Google:
    """One project's secrets and objects, changed by tests while a machine asks for them."""

    project: str
    secrets: dict[str, list[bytes]] = field(default_factory=dict)
    """Versions of each secret, the newest last. One that is missing was not declared."""
    objects: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """By bucket and name."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Further values of the metadata server, by path below /computeMetadata/v1/."""
    away: bool = False
    """While set, everything is answered 503."""
    asked: Counter[str] = field(default_factory=Counter)
    token: str = field(default_factory=lambda: f"ya29.{secrets.token_urlsafe(24)}")

    def add(self, secret: str, value: str) -> None:
        """A new version of a secret."""
        self.secrets.setdefault(secret, []).append(value.encode())


class _Handler(BaseHTTPRequestHandler):
    google: Google

    def do_GET(self) -> None:
        self.server_version, self.sys_version = "stand-in", ""
        path = urlsplit(self.path).path
        google = self.google
        google.asked[path] += 1
        if google.away:
            return self._error(503, "backend error")
        if path.startswith("/computeMetadata/"):
            return self._metadata(path)
        if self.headers.get("Authorization") != f"Bearer {google.token}":
            return self._error(401, "Request had invalid authentication credentials.")
        secret, found = _SECRET.fullmatch(path), _OBJECT.fullmatch(path)
        if secret and secret["project"] == google.project:
            return self._secret(secret["name"])
        if found:
            content = google.objects.get((found["bucket"], unquote(found["name"])))
            if content is not None:
                return self._answer(200, content, "application/octet-stream")
        return self._error(404, f"{path} not found")

    def _metadata(self, path: str) -> None:
        if self.headers.get("Metadata-Flavor") != "Google":
            return self._error(403, "Missing Metadata-Flavor:Google header.")
        if path == _TOKEN:
            token = {
                "access_token": self.google.token,
                "expires_in": 3599,
                "token_type": "Bearer",
            }
            # The real one answers in one line, without blanks.
            body = json.dumps(token, separators=(",", ":"))
            return self._answer(200, body.encode(), "application/json")
        value = self.google.metadata.get(path.removeprefix("/computeMetadata/v1/"))
        if value is None:
            return self._error(404, "not found")
        return self._answer(200, value.encode(), "application/text")

    def _secret(self, name: str) -> None:
        versions = self.google.secrets.get(name)
        full = f"projects/1/secrets/{name}"
        if not versions:
            return self._error(404, f"Secret Version [{full}/versions/latest] not found.")
        payload = {"data": base64.b64encode(versions[-1]).decode(), "dataCrc32c": "1"}
        body = {"name": f"{full}/versions/{len(versions)}", "payload": payload}
        # The real one indents by two.
        return self._answer(200, (json.dumps(body, indent=2) + "\n").encode(), "application/json")

    def _error(self, code: int, message: str) -> None:
        body = json.dumps({"error": {"code": code, "message": message}}, indent=2)
        self._answer(code, body.encode(), "application/json")

    def _answer(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


@contextmanager
def serving(google: Google, host: str) -> Iterator[str]:
    """The address at which it answers, such as http://172.17.0.1:40001."""
    handler = type("Handler", (_Handler,), {"google": google})
    server = ThreadingHTTPServer((host, 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
