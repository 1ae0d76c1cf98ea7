"""ClickHouse servers that are no stack: several of them, which know each other over native TCP."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import urllib3

from infra.identity import Hash, Login
from infra.settings import Settings
from infra.warehouse import access, migrations, names, scale, server
from scripts import toolchain, warehouse
from stacks.embedded.processes import LIBCHDB_SERVER

ADMIN, INGEST = "password-of-the-admin", "password-of-ingest"
MEMBERS = {"m-anna000000": "password-of-anna", "m-ben0000000": "password-of-ben"}
PASSWORDS = {names.ADMIN_USER: ADMIN, names.INGEST_USER: INGEST, **MEMBERS}


@dataclass(frozen=True)
class Server:
    """One that answers over HTTP (and over TCP where its configuration says so)."""

    folder: Path
    settings: Settings

    @property
    def url(self) -> str:
        """Its HTTP endpoint."""
        return f"http://127.0.0.1:{self.settings.ports.clickhouse_http}"

    def answer(self, sql: str, user: str = names.ADMIN_USER, **more: str) -> tuple[int, str]:
        """Status and text; `more`: parameters of the address, such as database or param_days."""
        reply = self._reply(sql.encode(), user, more)
        return reply.status, reply.data.decode(errors="replace")

    def insert(self, sql: str, data: bytes, user: str = names.INGEST_USER) -> tuple[int, str]:
        """Status and text of an INSERT with its rows."""
        reply = self._reply(data, user, {"query": sql})
        return reply.status, reply.data.decode(errors="replace")

    def taken(self, sql: str) -> bytes:
        """What the administrator is answered, as it is."""
        reply = self._reply(sql.encode(), names.ADMIN_USER, {})
        assert reply.status == 200, reply.data[:1000]
        return reply.data

    def _reply(self, body: bytes, user: str, more: dict[str, str]) -> urllib3.BaseHTTPResponse:
        return urllib3.request(
            "POST",
            f"{self.url}/?{urlencode(more)}",
            body=body,
            headers={
                "X-ClickHouse-User": user,
                "X-ClickHouse-Key": PASSWORDS.get(user, ""),
                "Connection": "close",  # the server waits for open ones before it ends
            },
            retries=False,
            timeout=120,
        )

    def rows(self, sql: str, user: str = names.ADMIN_USER, **more: str) -> list[list[str]]:
        """Rows as text; fails where the server refuses."""
        status, said = self.answer(sql, user, **more)
        assert status == 200, f"{sql[:200]}: {said}"
        return [line.split("\t") for line in said.splitlines()]


def users(*, across: bool) -> str:
    """users.xml with two members; `across`: as servers of a cluster have it."""
    templates = access.templates(loopback_default=True, alone=False)
    return access.expand(
        scale.across(templates) if across else templates,
        [
            Login(id=name, query=(Hash(access.password_hash(text)),))
            for name, text in MEMBERS.items()
        ],
        now=0,
        admin=access.password_hash(ADMIN),
        ingest=access.password_hash(INGEST),
    )


@contextlib.contextmanager
def running(
    folder: Path,
    port: int,
    *,
    users_xml: str,
    more: str = "",
    native: bool = False,
    environment: dict[str, str] | None = None,
) -> Iterator[Server]:
    """A server with data in `folder`; `more`: a further configuration file."""
    settings = Settings.model_validate({"ports": {"clickhouseHttp": port}})
    (folder / "config.d").mkdir(parents=True, exist_ok=True)
    (folder / "users.xml").write_text(users_xml)
    (folder / "config.d" / "more.xml").write_text(more or "<clickhouse/>")
    (folder / "config.xml").write_text(
        server.embedded_config_xml(
            settings,
            data=str(folder / "data"),
            users_file=str(folder / "users.xml"),
            log_folder=str(folder),
            engine="libchdb",
        )
    )
    program = toolchain.programs(Settings()).clickhouse.path
    process = subprocess.Popen(
        [sys.executable, LIBCHDB_SERVER, "--lib", program, "--config", folder / "config.xml",
         "--path", folder / "data", "--port", str(port)],
        env={**os.environ, **(environment or {})},
        stderr=(folder / "errors").open("w"),
    )  # fmt: skip
    try:
        found = Server(folder, settings)
        assert warehouse.wait(f"{found.url}/ping", 60), (folder / "errors").read_text()
        if native:
            found.rows("SYSTEM START LISTEN TCP", user="default")
        yield found
    finally:
        process.terminate()
        process.wait(60)


def apply(
    folder: Path, url: str, *, wgetrc: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """`runner.sh apply` with the files of `folder`."""
    lines = (f"http_user = {names.ADMIN_USER}", f"http_password = {ADMIN}", *wgetrc)
    (folder / "wgetrc").write_text("".join(f"{line}\n" for line in lines))
    return subprocess.run(
        ["sh", str(migrations.RUNNER), "apply"],
        env={"PATH": os.environ["PATH"], "SCHEMA_DIR": str(folder), "CLICKHOUSE_URL": url},
        capture_output=True,
        text=True,
        timeout=180,
    )


def without_wget() -> bool:
    """Whether the runner cannot run here."""
    return shutil.which("wget") is None
