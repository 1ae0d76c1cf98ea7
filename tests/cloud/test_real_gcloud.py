"""What `telemetry member` calls, done by the real `gcloud` where there is one, against a server
that speaks Secret Manager's REST interface: the stand-in of the other tests is not believed alone.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra.settings import validated
from scripts import cloud
from scripts.errors import Failure
from tests.cloud.conftest import NAMES

pytestmark = pytest.mark.skipif(
    shutil.which("gcloud") is None, reason="the Google Cloud CLI is not on the PATH"
)


class Manager:
    """As much of Secret Manager as is asked for."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, list[tuple[bytes, str]]] = {}
        self.counter = itertools.count(1)
        self.refuse: tuple[int, str, str] | None = None

    def declare(self, which: str) -> None:
        name = NAMES.secret(which)
        self.secrets[name] = {"name": f"projects/42/secrets/{name}", "etag": '"0"'}
        self.versions[name] = []

    def answer(self, method: str, path: str, query: str, body: Any) -> tuple[int, Any]:
        if self.refuse:
            status, code, text = self.refuse
            return status, {"error": {"code": status, "status": code, "message": text}}
        match = re.fullmatch(r"/v1/projects/[^/]+/secrets/([^/:]+)(/versions.*|:addVersion|)", path)
        assert match, path
        secret, rest = match[1], match[2]
        if secret not in self.secrets:
            return self._error(
                404, "NOT_FOUND", f"Secret [projects/42/secrets/{secret}] not found."
            )
        if method == "GET" and not rest:
            return 200, self.secrets[secret]
        if method == "PATCH":
            assert "annotations" in query
            if body.get("etag") != self.secrets[secret]["etag"]:
                return self._error(400, "FAILED_PRECONDITION", "The etag does not match.")
            self.secrets[secret]["annotations"] = body["annotations"]
            self.secrets[secret]["etag"] = f'"{next(self.counter)}"'
            return 200, self.secrets[secret]
        if rest == ":addVersion":
            data = base64.b64decode(body["payload"]["data"], altchars=b"-_")
            self.versions[secret].append((data, "ENABLED"))
            shown = self._version(secret, len(self.versions[secret]))
            return 200, {**shown, "clientSpecifiedPayloadChecksum": True}
        if rest == "/versions":
            numbers = range(len(self.versions[secret]), 0, -1)
            return 200, {"versions": [self._version(secret, number) for number in numbers]}
        number, _, verb = rest.removeprefix("/versions/").partition(":")
        found = len(self.versions[secret]) if number == "latest" else int(number)
        if not 0 < found <= len(self.versions[secret]):
            text = f"Secret [projects/42/secrets/{secret}] not found or has no versions."
            return self._error(404, "NOT_FOUND", text)
        data, state = self.versions[secret][found - 1]
        if verb == "destroy":
            self.versions[secret][found - 1] = (b"", "DESTROYED")
            return 200, self._version(secret, found)
        if state != "ENABLED":
            return self._error(400, "FAILED_PRECONDITION", f"It is in {state} state.")
        payload = {"data": base64.b64encode(data).decode()}
        return 200, {"name": self._version(secret, found)["name"], "payload": payload}

    def _version(self, secret: str, number: int) -> dict[str, str]:
        return {
            "name": f"projects/42/secrets/{secret}/versions/{number}",
            "createTime": "2026-11-29T10:00:00.123456Z",
            "state": self.versions[secret][number - 1][1],
        }

    def _error(self, status: int, code: str, text: str) -> tuple[int, Any]:
        return status, {"error": {"code": status, "status": code, "message": text}}


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """One that `gcloud` asks instead of Google's."""
    kept = Manager()
    for which in ("lock", "keys"):
        kept.declare(which)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length) or b"null")
            path, _, query = self.path.partition("?")
            status, found = kept.answer(self.command, path, query, body)
            content = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _answer  # noqa: N815 (http.server names them)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        token = tmp_path / "token"
        token.write_text("a-token")
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", address)
        monkeypatch.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", str(token))
        for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.delenv(proxy, raising=False)
        yield kept
        server.shutdown()


def endpoint() -> cloud.Cloud:
    return cloud.Cloud(validated([]), NAMES)


def test_secrets_are_written_read_and_destroyed(manager: Manager) -> None:
    keys = NAMES.secret("keys")
    text = "admin_password=ä?>~\nzweite Zeile\n"
    found = endpoint()
    assert found.read(keys) == ""
    with found.alone():
        assert manager.secrets[NAMES.secret("lock")]["annotations"]["telemetry-lock"] != "free"
        assert found.ensure(keys, lambda: text) == (text, True)
        assert found.ensure(keys, lambda: "other") == (text, False)
        for number in range(3):
            found.write(keys, f"{number}\n")
    assert found.read(keys) == "2\n"
    states = [state for _, state in manager.versions[keys]]
    assert states == ["DESTROYED", "DESTROYED", "ENABLED", "ENABLED"]
    kept = manager.secrets[NAMES.secret("lock")]["annotations"]
    assert kept == {"telemetry-lock": "free", "telemetry-head.keys": "4"}


def test_the_payload_is_in_no_log_of_gcloud(manager: Manager) -> None:
    assert manager.secrets
    found = endpoint()
    with found.alone():
        found.write(NAMES.secret("keys"), "a-very-secret-text\n")
    assert found.read(NAMES.secret("keys")) == "a-very-secret-text\n"
    files = [file for file in Path(os.environ["CLOUDSDK_CONFIG"]).rglob("*") if file.is_file()]
    assert [file for file in files if b"a-very-secret-text" in file.read_bytes()] == []


def test_one_who_changes_the_lock_meanwhile_is_noticed(manager: Manager) -> None:
    lock = manager.secrets[NAMES.secret("lock")]
    found = endpoint()
    with found.alone():
        lock["etag"] = '"else"'
        lock["annotations"] = {"telemetry-lock": "another"}
    assert lock["annotations"] == {"telemetry-lock": "another"}


@pytest.mark.parametrize(
    ("refusal", "mend"),
    [
        ((403, "PERMISSION_DENIED", "Permission denied on resource."), "cloud.administrators"),
        (
            (403, "PERMISSION_DENIED", "Secret Manager API has not been used in project 42 before "
             "or it is disabled."),
            "switches on",
        ),
        ((404, "NOT_FOUND", "Secret [x] not found."), "pulumi up -s cloud"),
    ],
)  # fmt: skip
def test_what_google_refuses_is_understood(
    manager: Manager, refusal: tuple[int, str, str], mend: str
) -> None:
    manager.refuse = refusal
    with pytest.raises(Failure, match=mend), endpoint().alone():
        pass


def test_who_is_not_logged_in_is_told_so(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    assert manager.secrets
    monkeypatch.delenv("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE")
    with pytest.raises(Failure, match="gcloud auth login"):
        endpoint().read(NAMES.secret("keys"))


def test_the_machine_and_the_tunnel_are_asked_for_in_words_that_gcloud_knows() -> None:
    """It checks its arguments before it logs in."""
    for call in (lambda: endpoint().host(), lambda: endpoint().tunnel().__enter__()):
        with pytest.raises(Failure) as refused:
            call()
        assert "unrecognized" not in str(refused.value).lower()
        assert "invalid" not in str(refused.value).lower()
