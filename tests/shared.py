"""A store that people share: the real ClickHouse with logins of every role, and no collector.

Rows are inserted as the administrator; what a collector stores of requests is tested elsewhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from infra.identity import Hash, Login, Role
from infra.secrets import Secrets
from infra.settings import Settings
from infra.warehouse import access, names, server
from scripts import warehouse
from stacks.embedded.processes import LIBCHDB_SERVER, Programs
from tests.conftest import free_ports

PASSWORD = "their-own-password"
_ESCAPED = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t"})
"""A parameter is read as a field of TabSeparated."""
EDGE = "10.9.8.7"
"""Where the requests of a test come from, as an edge would say."""


def login(number: int, role: Role = "member", team: str = "") -> Login:
    """m-0000000001 and so on; all have the same password."""
    return Login(
        id=f"m-{number:010}",
        role=role,
        team=team,
        query=(Hash(access.password_hash(PASSWORD)),),
    )


@dataclass(frozen=True)
class Answer:
    """What ClickHouse said to one request."""

    status: int
    text: str
    code: int
    """Of the error; 0 for none."""

    @property
    def rows(self) -> list[list[str]]:
        """Of an answer in TabSeparated."""
        assert self.status == 200, self.text
        return [line.split("\t") for line in self.text.splitlines()]


class Store:
    """One server process. `floor`: the cohort floor."""

    def __init__(
        self, folder: Path, programs: Programs, logins: Sequence[Login], *, floor: int = 3
    ) -> None:
        self.folder, self.programs, self.logins = folder, programs, logins
        [port] = free_ports(1)
        self.settings = Settings.model_validate(
            {"ports": {"clickhouseHttp": port}, "privacy": {"cohortFloor": floor}}
        )
        self.secrets = Secrets(
            member="m-nobodyhere",
            admin_password="the-administrators",
            ingest_password="the-collectors",
            member_password="unused",
            pseudonym_key="unused",
        )
        self.networks = access.Networks()
        self.pool = urllib3.PoolManager()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return warehouse.url(self.settings)

    def start(self) -> None:
        """Start it and bring its schema up to date."""
        folder = self.folder
        folder.mkdir(parents=True, exist_ok=True)
        users = folder / "users.xml"
        users.write_text(
            access.expand(
                access.templates(
                    loopback_default=self.programs.engine == "libchdb",
                    alone=False,
                    networks=self.networks,
                ),
                self.logins,
                now=0,
                admin=access.password_hash(self.secrets.admin_password),
                ingest=access.password_hash(self.secrets.ingest_password),
            )
        )
        rendered = server.embedded_config_xml(
            self.settings,
            data=str(folder / "data"),
            users_file=str(users),
            log_folder=str(folder),
            engine=self.programs.engine,
            behind_edge=True,
        )
        (folder / "config.xml").write_text(rendered)
        self._process = subprocess.Popen(self._command(), cwd=folder, stderr=subprocess.DEVNULL)
        assert warehouse.wait(f"{self.url}/ping", 30), "ClickHouse does not start"
        client = warehouse.as_admin(self.settings, self.secrets)
        warehouse.migrate(client, self.settings)
        client.close_connections()

    def _command(self) -> list[str | Path]:
        config = self.folder / "config.xml"
        if self.programs.engine == "server":
            return [self.programs.clickhouse.path, "server", f"--config-file={config}"]
        return [
            sys.executable,
            LIBCHDB_SERVER,
            "--lib",
            self.programs.clickhouse.path,
            "--config",
            config,
            "--path",
            self.folder / "data",
            "--port",
            str(self.settings.ports.clickhouse_http),
        ]

    def stop(self) -> None:
        """Stop it; what is stored stays."""
        self.pool.clear()
        if self._process:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def ask(
        self,
        user: str,
        sql: str,
        *,
        password: str = PASSWORD,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        url: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request over HTTP, as through the edge; `url`: parameters of the URL."""
        reply = self.pool.request(
            method,
            f"{self.url}/?{urlencode(url or {})}",
            body=sql.encode(),
            headers={
                "X-ClickHouse-User": user,
                "X-ClickHouse-Key": password,
                "X-Forwarded-For": EDGE,
                **(headers or {}),
            },
            retries=False,
            timeout=120,
        )
        return Answer(
            reply.status,
            reply.data.decode(errors="replace"),
            int(reply.headers.get("X-ClickHouse-Exception-Code", 0)),
        )

    def admin(self, sql: str, **parameters: str) -> list[list[str]]:
        """Rows of a query as the administrator; `parameters` fill {name:Type} places."""
        given = {f"param_{name}": value.translate(_ESCAPED) for name, value in parameters.items()}
        return self.ask(names.ADMIN_USER, sql, password=self.secrets.admin_password, url=given).rows

    def insert(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows into a table of the database."""
        body = "\n".join(json.dumps(row, default=str) for row in rows)
        self.admin(f"INSERT INTO {names.DATABASE}.{table} FORMAT JSONEachRow\n{body}")

    def refresh(self) -> None:
        """Bring summaries, coordinators' tables and the audit up to date."""
        client = warehouse.as_admin(self.settings, self.secrets)
        warehouse.refresh(client)
        client.close_connections()

    def audit(self) -> None:
        """Bring the audit up to date."""
        client = warehouse.as_admin(self.settings, self.secrets)
        warehouse.refresh_audit(client)
        client.close_connections()
