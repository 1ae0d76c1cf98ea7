"""The real client sends the login that `telemetry env` gives it on a shared machine."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra import client
from infra.settings import Settings
from scripts.credentials import Credentials
from scripts.prepare_tests import client_program
from tests import api, claude

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(client_program() is None, reason="Claude Code is not there"),
]


def test_claude_code_sends_the_header_as_it_is_meant(tmp_path: Path) -> None:
    seen: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        given = Credentials(
            stack="machine",
            id="m-abcdefghij",
            role="member",
            ingest=f"http://127.0.0.1:{server.server_address[1]}",
            ingest_login="m-abcdefghij.2+light-house_1",
            # Its Base64 ends in `=`, which also stands between a name and its value.
            ingest_password="a" * 32,
        )
        assert given.authorization.endswith("=")
        login = client.Login(given.ingest, given.authorization)
        variables = client.enabled(Settings(), client.WorkContext(), login)
        with api.Api() as stand_in:
            claude.turn(stand_in, tmp_path, {each.name: each.value for each in variables})
        server.shutdown()
    assert {path for path, _ in seen} >= {"/v1/logs", "/v1/metrics"}
    assert {header for _, header in seen} == {given.authorization}
