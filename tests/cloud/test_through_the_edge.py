"""`telemetry query` and `report` on a shared endpoint: the real Caddy with the rendered
configuration and credentials that `telemetry member` made, in front of the real ClickHouse."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from infra import identity
from infra.edge import caddy
from infra.settings import Settings, load_cloud
from infra.warehouse import names
from scripts import certificates, toolchain
from tests.cloud.conftest import NAMES, Desk, another, new_desk
from tests.cloud.edge import Edge
from tests.conftest import until
from tests.shared import Store

pytestmark = pytest.mark.stack


@dataclass
class Endpoint:
    """All of it, and whose credentials there are."""

    desk: Desk
    edge: Edge
    store: Store
    people: dict[str, Desk]
    given: dict[str, dict[str, str]]

    def ask(self, who: str, sql: str, **env: str) -> Any:
        return self.people[who].run("query", "--on", "cloud", "--json", "--sql", sql, **env)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Anna is a member, Cora a coordinator; client certificates are asked for."""
    folder = tmp_path_factory.mktemp("endpoint")
    desk = new_desk(folder / "desk")
    desk.configure(edge={"clientCertificates": True}, identity={"lists": 1})
    store = Store(folder / "vm", toolchain.programs(Settings()), ())
    people, given = {}, {}
    settings = load_cloud(desk.clone)
    edge = Edge(folder / "edge", settings)
    try:
        for name, role in (("anna", "member"), ("bert", "member"), ("cora", "coordinator")):
            file = folder / f"{name}.yaml"
            desk.ok("member", "add", name, "--role", role, "--output", str(file), "--on", "cloud")
            # Here the endpoint answers at another port.
            text = file.read_text().replace("203.0.113.7", f"127.0.0.1:{edge.port}")
            file.write_text(text)
            people[name] = another(desk, folder / name)
            people[name].ok("member", "accept", str(file))
            given[name] = yaml.safe_load(text)
        _hand_over(desk, store)
        edge.placement = replace(
            edge.placement, warehouse=f"http://127.0.0.1:{store.settings.ports.clickhouse_http}"
        )
        _install(desk, edge)
        edge.start()
        yield Endpoint(desk, edge, store, people, given)
    finally:
        edge.stop()
        store.stop()


def _hand_over(desk: Desk, store: Store) -> None:
    """The list of members, as the machine makes users of it."""
    store.stop()
    store.logins = identity.parse(desk.newest("members-1"))
    store.start()


def _install(desk: Desk, edge: Edge) -> None:
    """What the machine makes of the secrets."""
    own = certificates.pair(desk.newest("edge"))
    (edge.secrets / caddy.CA_CERTIFICATE).write_text(own.certificate)
    (edge.secrets / caddy.CA_KEY).write_text(own.key)
    authority, *leaves = certificates.split(desk.newest("client-certificates"))
    (edge.secrets / caddy.CLIENT_CA).write_text(authority)
    allowed = edge.secrets / caddy.CLIENT_LEAVES
    for file in allowed.iterdir():
        file.unlink()
    for number, leaf in enumerate(leaves):
        (allowed / f"{number}.pem").write_text(leaf)


def test_one_asks_as_oneself_and_the_database_is_that_of_the_role(endpoint: Endpoint) -> None:
    for who, database in (("anna", names.DATABASE), ("cora", names.TEAM_DATABASE)):
        done = endpoint.ask(who, "SELECT currentUser() AS who, currentDatabase() AS database")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [{"who": endpoint.given[who]["id"], "database": database}]


def test_a_shipped_question_is_asked_there(endpoint: Endpoint) -> None:
    anna = endpoint.people["anna"]
    assert json.loads(anna.ok("query", "sessions", "--on", "cloud", "--json")) == []


def test_a_coordinator_has_the_report_of_a_month(endpoint: Endpoint) -> None:
    cora = endpoint.people["cora"]
    made = json.loads(cora.ok("report", "month", "--format", "json", "--on", "cloud"))
    assert "coverage" in made["sections"]
    assert made["scope"] == "team"
    across = json.loads(cora.ok("report", "team", "--format", "json", "--on", "cloud"))
    assert "coverage" in across["sections"]
    done = cora.run("report", "month", "--scope", "own", "--on", "cloud")
    assert (done.returncode, "coordinator's" in done.stderr) == (1, True)


def test_a_member_has_the_report_of_their_own_month_and_of_nobody_elses(
    endpoint: Endpoint,
) -> None:
    anna = endpoint.people["anna"]
    made = json.loads(anna.ok("report", "month", "--format", "json", "--on", "cloud"))
    assert (made["scope"], "coverage" in made["sections"]) == ("own", True)
    for words in (("month", "--scope", "team"), ("team",)):
        done = anna.run("report", *words, "--on", "cloud")
        assert (done.returncode, "member's" in done.stderr) == (1, True)


def test_parameters_and_errors_come_through(endpoint: Endpoint) -> None:
    anna = endpoint.people["anna"]
    words = ("query", "--on", "cloud", "--json", "--sql", "SELECT {a:String} AS a")
    assert json.loads(anna.ok(*words, "--param", "a=x y/&?")) == [{"a": "x y/&?"}]
    done = endpoint.ask("anna", "SELECT nonsense FROM telemetry_events")
    assert (done.returncode, "nonsense" in done.stderr) == (1, True)


def test_no_credential_is_in_a_request_line(endpoint: Endpoint) -> None:
    endpoint.ask("anna", "SELECT 1")
    text = json.dumps(endpoint.edge.log())
    assert "/query" in text
    secrets = [endpoint.given["anna"][key] for key in ("query_password", "ingest_password")]
    assert [each for each in secrets if each in text] == []


def test_without_the_client_certificate_or_with_anothers_ca_nothing_is_answered(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    for number, lacking in enumerate(("client_certificate", "certificate_authority")):
        given = {k: v for k, v in endpoint.given["anna"].items() if k != lacking}
        if lacking == "client_certificate":
            del given["client_key"]
        else:
            given[lacking] = certificates.authority("Another", below=None).certificate
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(given))
        person = another(endpoint.desk, tmp_path / f"person-{number}")
        person.ok("member", "accept", str(file))
        done = person.run("query", "--on", "cloud", "--sql", "SELECT 1")
        assert done.returncode == 1
        assert "certificate" in done.stderr.lower()
        assert given["query_password"] not in done.stderr


def test_who_has_no_credentials_is_told_where_they_come_from(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    nobody = another(endpoint.desk, tmp_path / "nobody")
    done = nobody.run("query", "--on", "cloud", "--sql", "SELECT 1")
    assert (done.returncode, "member accept" in done.stderr) == (1, True)


def test_a_proxy_is_gone_through(endpoint: Endpoint) -> None:
    with proxy() as (port, asked):
        address = f"http://127.0.0.1:{port}"
        done = endpoint.ask("anna", "SELECT 1 AS x", HTTPS_PROXY=address, NO_PROXY="")
    assert (done.returncode, done.stdout) == (0, '[{"x": 1}]\n'), done.stderr
    assert asked == [["CONNECT", f"127.0.0.1:{endpoint.edge.port}"]]


@contextlib.contextmanager
def proxy() -> Iterator[tuple[int, list[list[str]]]]:
    """A proxy for HTTPS: its port, and what it was asked to do, each once."""
    asked: list[list[str]] = []

    def pump(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := one.recv(65536):
                other.sendall(block)
            other.shutdown(socket.SHUT_WR)

    def serve(near: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += near.recv(4096)
        line = head.split(b"\r\n")[0].decode()
        host, _, port = line.split()[1].partition(":")
        far = socket.create_connection((host, int(port)))
        if line.split()[:2] not in asked:
            asked.append(line.split()[:2])
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=pump, args=(far, near), daemon=True).start()
        pump(near, far)

    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    near, _ = server.accept()
                    threading.Thread(target=serve, args=(near,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], asked


def test_the_administrator_comes_through_the_tunnel_which_ends_with_the_command(
    endpoint: Endpoint,
) -> None:
    desk, store = endpoint.desk, endpoint.store
    _as_if_it_were_the_machine(endpoint)
    for about in ("retention", "governance", "access"):
        assert desk.ok("report", about, "--on", "cloud")
    _gone(desk)
    call = next(each for each in reversed(desk.calls()) if "start-iap-tunnel" in each["argv"])
    assert call["argv"][1:4] == ["start-iap-tunnel", NAMES.instance, "8123"]
    assert store.secrets.admin_password not in str(desk.calls())
    # Where it goes wrong, too.
    (desk.gcloud / "tunnel").write_text("1")
    assert desk.run("report", "retention", "--on", "cloud").returncode == 1
    _gone(desk)


def test_a_tunnel_ends_with_a_command_that_is_ended(endpoint: Endpoint) -> None:
    desk = endpoint.desk
    _as_if_it_were_the_machine(endpoint)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        (desk.gcloud / "tunnel").write_text(str(silent.getsockname()[1]))
        (desk.gcloud / "tunnel.pid").unlink(missing_ok=True)
        running = desk.start("report", "retention", "--on", "cloud")
        until((desk.gcloud / "tunnel.pid").exists)
        time.sleep(1)
        running.terminate()
        assert running.wait(20) == 143
        running.communicate()
    _gone(desk)


def _as_if_it_were_the_machine(endpoint: Endpoint) -> None:
    """The tunnel leads to ClickHouse, whose administrator has the password of the keys."""
    desk, store = endpoint.desk, endpoint.store
    (desk.gcloud / "tunnel").write_text(str(store.settings.ports.clickhouse_http))
    keys = dict(line.split("=", 1) for line in desk.newest("keys").splitlines())
    keys["admin_password"] = store.secrets.admin_password
    folder = desk.gcloud / "secrets" / NAMES.secret("keys")
    number = max(desk.versions("keys"))
    text = "".join(f"{name}={value}\n" for name, value in keys.items())
    (folder / f"{number}.ENABLED").write_text(text)


def _gone(desk: Desk) -> None:
    pid = int((desk.gcloud / "tunnel.pid").read_text())
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", 5)


def test_a_revoked_member_is_told_so_and_their_certificate_is_shut_out(
    endpoint: Endpoint,
) -> None:
    desk, store, edge = endpoint.desk, endpoint.store, endpoint.edge
    assert endpoint.ask("bert", "SELECT 1").returncode == 0
    desk.ok("member", "revoke", "bert", "--yes", "--on", "cloud")
    _hand_over(desk, store)
    done = endpoint.ask("bert", "SELECT 1")
    assert (done.returncode, "revoked" in done.stderr) == (1, True), done.stderr
    _install(desk, edge)
    edge.reload()
    done = endpoint.ask("bert", "SELECT 1")
    assert (done.returncode, "certificate" in done.stderr) == (1, True), done.stderr
    assert endpoint.ask("anna", "SELECT 1").returncode == 0
    assert len(identity.parse(desk.newest("members-1"))) == 2
