"""What all tests share: a stack of one's own, with real programs, in a state folder of its own."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from clickhouse_connect.driver.client import Client
from xdist.scheduler import LoadScopeScheduling

from infra.settings import Settings, load
from scripts import warehouse
from stacks.home import PROJECT, Home
from tests import recorded
from tests.engine.fixtures import docker_client, engine
from tests.recorded import Recorded

__all__ = ["docker_client", "engine"]

FIXTURES = PROJECT / "tests" / "fixtures"
TELEMETRY = PROJECT / ".venv" / "bin" / "telemetry"
PORTS = ("otlpHttp", "otlpGrpc", "clickhouseHttp", "health", "collectorMetrics", "prometheus")


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, none of those that outgoing connections are given (32768 up).

    Of these a stack that starts again would find one taken, now and then.
    """
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


ON_A_MACHINE = ("tests/cloud/test_endpoint.py", "tests/cloud/test_attacks.py")
"""Besides tests/engine, these need the Docker engine."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Where several tests run at once, those of a file run one after another, and so do all that
    need the one Docker engine."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "engine" if file.startswith("tests/engine/") or file in ON_A_MACHINE else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Chooses who runs what."""
    return ByFile(config, log)


class Stack:
    """An embedded stack in a folder of its own, driven by the `telemetry` command."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.home = Home(folder / "state")
        self.user = folder / "user"
        self.user.mkdir(parents=True, exist_ok=True)
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.configure({"ports": ports, **settings})

    def configure(self, settings: dict[str, Any]) -> None:
        """Write the member's settings.yaml."""
        self.home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.home.path / "settings.yaml").write_text(yaml.safe_dump(settings))

    def change(self, **settings: Any) -> None:
        """Change some of it."""
        now = yaml.safe_load((self.home.path / "settings.yaml").read_text())
        self.configure({**now, **settings})

    @property
    def settings(self) -> Settings:
        """As the command reads them."""
        return load(PROJECT, self.home.path)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a member on a machine of their own."""
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
        caches = {
            key: os.environ[key]
            for key in ("GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "npm_config_cache")
            if key in os.environ
        }
        home = {"HOME": str(self.user), "TELEMETRY_HOME": str(self.home.path)}
        return {**kept, **caches, **home, "NO_COLOR": "1"}

    def run(
        self, *words: str, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the `telemetry` command to its end."""
        return subprocess.run(
            [TELEMETRY, *words],
            cwd=cwd or self.user,
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def ok(self, *words: str, **options: Any) -> str:
        """Run it and require success; its standard output."""
        done = self.run(*words, **options)
        assert done.returncode == 0, f"telemetry {words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def post(self, signal: str, body: bytes, content_type: str = "application/json") -> int:
        """Send one OTLP/HTTP request; the status it is answered with."""
        import urllib3

        reply = urllib3.request(
            "POST",
            f"http://127.0.0.1:{self.settings.ports.otlp_http}/v1/{signal}",
            body=body,
            headers={"Content-Type": content_type},
            timeout=30,
            retries=False,
        )
        return reply.status

    def send(self, found: Sequence[Recorded]) -> None:
        """Post recorded logs and metrics that are not there yet; wait until all are rows."""
        due = {
            "telemetry_events": sum(1 for request in found for _ in recorded.events(request)),
            "metric_points": sum(1 for request in found for _ in recorded.points(request)),
        }

        def there() -> dict[str, int]:
            return {table: self.member(f"SELECT count() FROM {table}")[0][0] for table in due}

        wanted = {table: count + due[table] for table, count in there().items()}
        for request in found:
            assert self.post(request.signal, json.dumps(request.body).encode()) == 200
        until(lambda: there() == wanted)

    def admin(self, sql: str, **parameters: Any) -> list[Sequence[Any]]:
        """Rows of a query as the administrator."""
        return self._rows(warehouse.as_admin, sql, parameters)

    def member(self, sql: str, **parameters: Any) -> list[Sequence[Any]]:
        """Rows of a query as the member."""
        return self._rows(warehouse.as_member, sql, parameters)

    def _rows(
        self, login: Callable[..., Client], sql: str, parameters: dict[str, Any]
    ) -> list[Sequence[Any]]:
        client = login(self.settings, self.home.secrets())
        try:
            return list(client.query(sql, parameters=parameters).result_rows)
        finally:
            client.close_connections()  # the server waits for open ones before it ends

    def as_member(self) -> Client:
        """The member's login."""
        return warehouse.as_member(self.settings, self.home.secrets())

    def metric(self, name: str) -> float:
        """One of the collector's own counters, over all its labels; 0 before it first counts."""
        import urllib3

        address = f"http://127.0.0.1:{self.settings.ports.collector_metrics}/metrics"
        text = urllib3.request("GET", address, timeout=10).data.decode()
        found = re.findall(rf"^{name}(?:_total)?(?:{{[^}}]*}})? ([0-9.e+]+)$", text, re.MULTILINE)
        return sum(float(value) for value in found)

    def pid(self, name: str) -> int:
        """Process id of a supervised program; 0 where it does not run."""
        from scripts.supervise import Supervisor
        from stacks.embedded.processes import Layout

        state = Supervisor(Layout(self.home)).states().get(name)
        return state.pid if state else 0

    def down(self) -> None:
        """Stop it, whatever state it is in."""
        self.run("down")


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until a condition holds and return what it gave; fails when it never does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not so after {seconds} s")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that runs for the whole session; tests that harm it make one of their own."""
    made = Stack(tmp_path_factory.mktemp("stack"))
    made.ok("up")
    yield made
    made.down()


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack for one test, not started yet."""
    made = Stack(tmp_path)
    yield made
    made.down()
