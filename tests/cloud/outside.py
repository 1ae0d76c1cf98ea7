"""The shared endpoint as the internet sees it: requests over TLS, well-behaved and not."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What came back. Header names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """As text, whatever it is."""
        return self.body.decode(errors="replace").strip()


def basic(login: str, password: str) -> dict[str, str]:
    """The header of HTTP's basic authentication."""
    return {"Authorization": f"Basic {base64.b64encode(f'{login}:{password}'.encode()).decode()}"}


@dataclass(frozen=True)
class Outside:
    """Where it is and whom to trust. `source`: an address of this machine to come from."""

    address: str
    ca: Path
    client: tuple[Path, Path] | None = None
    """Certificate and key to show."""
    source: str = ""
    port: int = 443

    def context(self) -> ssl.SSLContext:
        """Trusts the endpoint's own CA and nothing else."""
        found = ssl.create_default_context(cafile=str(self.ca))
        if self.client:
            found.load_cert_chain(*map(str, self.client))
        return found

    def connection(self, seconds: float = 30) -> http.client.HTTPSConnection:
        """A connection of one's own, not yet open."""
        return http.client.HTTPSConnection(
            self.address,
            self.port,
            timeout=seconds,
            context=self.context(),
            source_address=(self.source, 0) if self.source else None,
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        seconds: float = 30,
    ) -> Answer:
        """One request on a connection of its own."""
        with contextlib.closing(self.connection(seconds)) as connection:
            connection.request(method, path, body or None, dict(headers or {}))
            reply = connection.getresponse()
            found = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, found, reply.read())

    def send(
        self,
        login: str,
        password: str,
        body: bytes,
        *,
        signal: str = "logs",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """An OTLP request as JSON, with the credential of a member's collector."""
        sent = {**JSON, **basic(login, password), **(headers or {})}
        return self.request("POST", f"/v1/{signal}", body=body, headers=sent)

    def ask(
        self,
        login: str,
        password: str,
        sql: str,
        *,
        headers: Mapping[str, str] | None = None,
        **parameters: str,
    ) -> Answer:
        """A query, with a person's own login."""
        path = f"/query?{urlencode(parameters)}" if parameters else "/query"
        sent = {**basic(login, password), **(headers or {})}
        return self.request("POST", path, body=sql.encode(), headers=sent)

    def raw(self, data: bytes, *, tls: bool = True, seconds: float = 10) -> bytes:
        """What comes back for these bytes until the other side ends, or this time has passed."""
        with contextlib.ExitStack() as stack:
            plain = socket.create_connection((self.address, self.port), timeout=seconds)
            used: socket.socket = stack.enter_context(plain)
            if tls:
                wrapped = self.context().wrap_socket(used, server_hostname=self.address)
                used = stack.enter_context(wrapped)
            used.sendall(data)
            found, end = b"", time.monotonic() + seconds
            with contextlib.suppress(TimeoutError, ConnectionError, ssl.SSLError):
                while time.monotonic() < end:
                    part = used.recv(65536)
                    if not part:
                        break
                    found += part
            return found
