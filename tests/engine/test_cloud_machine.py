"""What the cloud's machine is given, started by its own scripts on a real Docker engine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from infra import services
from infra.identity import NONE, Hash, Login
from scripts.prepare_tests import CADDY
from tests import recorded
from tests.cloud.certificates import Authority
from tests.cloud.machine import NAMES, SCRIPTS, Machine, cloud
from tests.cloud.programs import hashed
from tests.conftest import free_ports, until
from tests.engine import images
from tests.engine.conftest import Image
from tests.engine.docker_engine import Engine

SYSTEMCTL = Path(__file__).parents[1] / "cloud" / "systemctl.py"
CADDY_CONTRACT = ("ENV PATH=/usr/bin", 'ENTRYPOINT ["caddy"]')


def person(name: str, ingest: str, query: str) -> Login:
    """A member of a team, with these two passwords."""
    sha256 = hashlib.sha256(query.encode()).hexdigest()
    return Login(id=name, team="book", query=(Hash(sha256),), ingest=(Hash(hashed(ingest)), NONE))


ANNA = person("m-annaaaaaaa", "one", "two")
BORIS = person("m-borissssss", "three", "four")


@pytest.fixture(scope="module")
def edge_image(docker_client: docker.DockerClient) -> Iterator[str]:
    """Caddy, as far as the stack uses its image."""
    if not CADDY.exists():
        pytest.skip("Caddy is not built: `make test` builds it")
    name = "telemetry-test/caddy:2.11.4"
    with images._present(docker_client, name) as build:
        if build is not None:
            with tarfile.open(build, "w") as tar:
                images._add(tar, "usr/bin/caddy", CADDY, mode=0o755)
            images._import(docker_client, build, name, CADDY_CONTRACT)
        yield name


class Running:
    """The machine, and who asks it."""

    def __init__(self, machine: Machine, port: int) -> None:
        self.machine, self.port = machine, port

    def curl(self, path: str, *words: str) -> tuple[int, str]:
        """Status and body."""
        done = subprocess.run(
            [
                *("curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}"),
                *("--cacert", self.machine.config / "edge/secrets/ca.pem"),
                *words,
                f"https://127.0.0.1:{self.port}{path}",
            ],
            capture_output=True,
            text=True,
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    def send(self, login: str) -> int:
        """Send a recorded request; the status."""
        body = self.machine.root / "request.json"
        [request] = recorded.shifted([next(recorded.requests("logs", "2.1.330"))])
        body.write_text(json.dumps(request.body))
        words = ("-u", login, "-H", "Content-Type: application/json", "--data-binary", f"@{body}")
        return self.curl("/v1/logs", *words)[0]

    def ask(self, login: str, query: str) -> tuple[int, str]:
        """Status and rows of a query."""
        return self.curl("/query", "-u", login, "--data-binary", query)


@pytest.fixture(scope="module")
def running(
    engine: Engine,
    docker_client: docker.DockerClient,
    clickhouse_image: Image,
    collector_image: Image,
    edge_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    """Everything the machine runs, with one member. Its limit on connections is left out: it is a
    matter of the whole machine that the tests run on."""
    if os.geteuid() != 0:
        pytest.skip("folders of the data disk belong to others, which is root's to set")
    folder = tmp_path_factory.mktemp("machine")
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    machine = Machine(folder)
    (machine.fake / "bin" / "docker").unlink()
    machine.program(
        "systemctl",
        '#!/bin/sh\ncase "$*" in *limit*) exit 0 ;; esac\n'
        f'exec env UNITS={machine.units} {sys.executable} {SYSTEMCTL} "$@"\n',
    )
    https, query = free_ports(2)
    environment = Path(machine.environment["TELEMETRY_ENV"])
    environment.write_text(
        environment.read_text().replace(f"OWNER={os.getgid()}", "OWNER=101")
        + f"HTTPS_PORT={https}\nQUERY_PORT={query}\n"
    )
    machine.environment |= {"DOCKER_HOST": engine.host, "NOW": str(int(time.time()))}
    machine.google.address = "127.0.0.1"
    machine.prepare(
        cloud(
            images={
                "clickhouse": clickhouse_image("telemetry-test/clickhouse:cloud"),
                "collector": collector_image("telemetry-test/collector:cloud"),
                "edge": edge_image,
            }
        )
    )
    machine.members(ANNA)
    for name in ("clickhouse", "clickhouse/user_files", "clickhouse/user_files/edge"):
        (machine.disk / name).mkdir()
    for name in ("queue", "caddy"):
        (machine.disk / name).mkdir()
    for path in machine.disk.rglob("*"):
        os.chown(path, 101, 101)
    subprocess.run(["sh", SCRIPTS / "network.sh"], env=_docker(engine), check=True)
    try:
        machine.fetch()
        found = Running(machine, https)
        until(lambda: found.curl("/healthz")[0] == 200)
        yield found
    finally:
        machine.google.stop()
        for service in services.cloud_services(cloud()):
            with contextlib.suppress(docker.errors.NotFound):
                docker_client.containers.get(f"telemetry-{service.name}").remove(force=True)
        for network in docker_client.networks.list(names=["^telemetry$"]):
            network.remove()


def _docker(engine: Engine) -> dict[str, str]:
    return {**os.environ, "DOCKER_HOST": engine.host}


def test_a_member_sends_and_asks_through_the_edge(running: Running) -> None:
    assert running.send(f"{ANNA.id}+book:one") == 200
    query = "SELECT DISTINCT member, team FROM telemetry_events"
    expected = (200, f"{ANNA.id}\tbook\n")
    assert until(lambda: running.ask(f"{ANNA.id}:two", query) == expected)


@pytest.mark.parametrize(
    "login", [f"{ANNA.id}+book:two", f"{ANNA.id}:one", f"{BORIS.id}+book:three", "default:"]
)
def test_nobody_else_sends(running: Running, login: str) -> None:
    assert running.send(login) == 401


@pytest.mark.parametrize(
    "login",
    # Those of programs are good, and not from here.
    [f"{ANNA.id}:one", "telemetry_admin:Aadmin", "telemetry_ingest:Aingest", "default:"],
)
def test_nobody_else_asks(running: Running, login: str) -> None:
    status, body = running.ask(login, "SELECT 1")
    assert status in (401, 403)
    assert body == ""


def test_who_joins_is_let_in_within_a_moment_and_nothing_starts_again(
    running: Running, docker_client: docker.DockerClient
) -> None:
    def started() -> dict[str, str]:
        return {
            str(each.name): each.attrs["State"]["StartedAt"]
            for each in docker_client.containers.list(filters={"name": "telemetry-"})
        }

    before = started()
    running.machine.members(ANNA, BORIS)
    running.machine.fetch()
    until(lambda: running.send(f"{BORIS.id}+book:three") == 200)
    running.machine.members(ANNA)
    running.machine.fetch()
    until(lambda: running.send(f"{BORIS.id}+book:three") == 401)
    assert running.send(f"{ANNA.id}+book:one") == 200
    assert started() == before


def test_a_ca_that_is_none_is_kept_out_and_a_new_one_signs_at_once(running: Running) -> None:
    secrets, name = running.machine.google.secrets, NAMES.secret("edge")
    one, other = Authority(), Authority()
    secrets[name] = one.certificate + other.key
    running.machine.fetch(code=1)
    assert "edge does not accept its new configuration" in running.machine.said
    assert running.curl("/healthz")[0] == 200
    secrets[name] = one.certificate + one.key
    running.machine.fetch()
    assert (running.machine.config / "edge/secrets/ca.pem").read_text() == one.certificate
    until(lambda: running.curl("/healthz")[0] == 200)
