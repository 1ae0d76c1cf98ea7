"""A stand-in for Cloud Storage, as much as a backup needs: a bucket with a retention lock.

The client is the real one (obstore). It checks no credentials.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass
class Stored:
    """An object."""

    data: bytes
    changed: datetime


@dataclass
class Bucket:
    """Objects by name. Times as the client is told them, so that a test can age them."""

    name: str
    lock: timedelta = timedelta()
    objects: dict[str, Stored] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    """What was to be deleted, and is locked."""
    url: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What leads the real client here."""
        account = {
            "gcs_base_url": self.url,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account), "GOOGLE_ALLOW_HTTP": "true"}

    def age(self, days: float) -> None:
        """All of it was written so many days earlier."""
        for each in self.objects.values():
            each.changed -= timedelta(days=days)

    def listed(self, prefix: str) -> bytes:
        """As the XML API lists it."""
        found = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(each.data)}</Size>"
            f"<LastModified>{each.changed:%Y-%m-%dT%H:%M:%S.%fZ}</LastModified>"
            f'<ETag>"{hash(each.data)}"</ETag></Contents>'
            for name, each in sorted(self.objects.items())
            if name.startswith(prefix)
        )
        return f"<ListBucketResult>{found}</ListBucketResult>".encode()


def _handler(bucket: Bucket) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _where(self) -> tuple[str, dict[str, list[str]]]:
            split = urlsplit(self.path)
            name, _, rest = unquote(split.path).lstrip("/").partition("/")
            assert name == bucket.name, f"another bucket: {name}"
            return rest, parse_qs(split.query)

        def _answer(self, status: int, body: bytes = b"", at: datetime | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hash(body)}"')
            if at:
                self.send_header("Last-Modified", format_datetime(at, usegmt=True))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            name, _ = self._where()
            data = self.rfile.read(int(self.headers["Content-Length"]))
            bucket.objects[name] = Stored(data, datetime.now(UTC))
            self._answer(200)

        def do_GET(self) -> None:
            name, query = self._where()
            if "list-type" in query:
                self._answer(200, bucket.listed(query.get("prefix", [""])[0]))
            elif name in bucket.objects:
                found = bucket.objects[name]
                self._answer(200, found.data, found.changed)
            else:
                self._answer(404)

        def do_DELETE(self) -> None:
            name, _ = self._where()
            found = bucket.objects.get(name)
            if found and found.changed + bucket.lock > datetime.now(UTC):
                bucket.refused.append(name)
                self._answer(403, b"<Error><Code>RetentionPolicyNotMet</Code></Error>")
                return
            bucket.objects.pop(name, None)
            self._answer(204)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    return Handler


@contextmanager
def served(name: str) -> Iterator[Bucket]:
    """On a port of its own."""
    bucket = Bucket(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(bucket))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bucket.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
