"""A ClickHouse that somebody else runs as the store: an https address and credentials, no more.

In its place stands a real one behind TLS, with a certificate of a CA that nobody knows but who is
given it. What a service adds (its own administrator, users by SQL) is not there.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import urllib3

from infra.collector.config import collector_config, render
from infra.collector.placement import Placement
from infra.settings import Settings, validated
from infra.warehouse import access, names, rbac, scale
from scripts import prepare_tests, toolchain
from scripts.scale import schema_files
from tests import recorded, servers
from tests.cloud.edge import Edge
from tests.conftest import free_ports, until
from tests.servers import Server

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(servers.without_wget(), reason="the schema runner needs wget"),
]

ANNA = next(iter(servers.MEMBERS))
OWN = "http://nowhere.invalid:8123"


@dataclass(frozen=True)
class Managed:
    """The store and who may see its certificate."""

    settings: Settings
    server: Server
    certificate: Path
    folder: Path


@contextmanager
def front(folder: Path, port: int, behind: str) -> Iterator[Path]:
    """TLS in front of an HTTP address; the CA's certificate."""
    file = folder / "Caddyfile"
    file.write_text(
        f"""{{
        admin off
        auto_https disable_redirects
        skip_install_trust
        storage file_system {folder}/caddy
}}
https://localhost:{port} {{
        bind 127.0.0.1
        tls internal
        reverse_proxy {behind.removeprefix("http://")}
}}
"""
    )
    process = subprocess.Popen(
        [prepare_tests.caddy(), "run", "--config", file, "--adapter", "caddyfile"],
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        stderr=(folder / "caddy.log").open("w"),
    )
    certificate = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    try:
        until(lambda: certificate.exists() and certificate.stat().st_size)
        yield certificate
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def collector(folder: Path, settings: Settings, certificate: Path) -> Iterator[str]:
    """A collector as it is rendered for such a store; its OTLP/HTTP address."""
    http, grpc, health, metrics = free_ports(4)
    (folder / "secrets").mkdir()
    for name, text in (
        ("member", ANNA),
        ("clickhouse-ingest", servers.INGEST),
        ("pseudonym-key", "key-of-a-test"),
    ):
        (folder / "secrets" / name).write_text(text)
    placement = Placement(
        listen="127.0.0.1",
        otlp_http_port=http,
        otlp_grpc_port=grpc,
        health_port=health,
        metrics_port=metrics,
        warehouse=scale.endpoint(settings, OWN),
        database=scale.database(settings),
        secrets=str(folder / "secrets"),
        prometheus="",
        queue=str(folder / "queue"),
        aside=str(folder / "aside"),
    )
    (folder / "collector.yaml").write_text(render(collector_config(settings, placement)))
    process = subprocess.Popen(
        [toolchain.programs(Settings()).collector.path, "--config", folder / "collector.yaml"],
        env={"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(certificate)},
        stderr=(folder / "collector.log").open("w"),
    )
    try:
        until(lambda: answers(health))
        yield f"http://127.0.0.1:{http}"
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/", retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def given_away() -> str:
    """users.xml with the grants that a service gives its users, and no more."""
    return "".join(
        line
        for line in servers.users(across=False).splitlines(keepends=True)
        if not any(f"GRANT {each}" in line for each in rbac.NOT_THERE)
    )


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    folder = tmp_path_factory.mktemp("managed")
    http, https = free_ports(2)
    settings = validated([{"scale": {"store": "managed", "url": f"https://localhost:{https}"}}])
    with (
        servers.running(folder / "server", http, users_xml=given_away()) as server,
        front(folder, https, server.url) as certificate,
    ):
        yield Managed(settings, server, certificate, folder)


def test_the_same_runner_applies_the_same_files_over_tls_and_trusts_no_other_certificate(
    managed: Managed,
) -> None:
    files = schema_files(managed.settings, managed.folder / "schema")
    [url] = scale.schema_endpoints(managed.settings, OWN)
    refused = servers.apply(files, url)
    assert refused.returncode == 1
    assert "does not answer" in refused.stderr
    assert managed.server.rows("SELECT count() FROM system.databases WHERE name = 'telemetry'") == [
        ["0"]
    ]
    known = f"ca_certificate = {managed.certificate}"
    assert servers.apply(files, url, wgetrc=[known]).returncode == 0
    again = servers.apply(files, url, wgetrc=[known])
    assert (again.returncode, again.stderr) == (0, "schema: current\n")


def test_events_go_over_tls_with_the_ingest_credential_and_are_answered_over_it(
    managed: Managed, tmp_path: Path
) -> None:
    [request] = recorded.shifted([next(recorded.requests("logs"))])
    sent = sum(1 for _ in recorded.events(request))
    with collector(tmp_path, managed.settings, managed.certificate) as address:
        reply = urllib3.request(
            "POST",
            f"{address}/v1/logs",
            body=json.dumps(request.body).encode(),
            headers={"Content-Type": "application/json"},
        )
        assert reply.status == 200
        counted = f"SELECT count() FROM {names.EVENTS}"
        until(lambda: managed.server.rows(counted, ANNA, database=names.DATABASE) == [[str(sent)]])
    pool = urllib3.PoolManager(ca_certs=str(managed.certificate))
    answer = pool.request(
        "POST",
        f"{managed.settings.scale.url}/?database={names.DATABASE}",
        body=counted,
        headers={"X-ClickHouse-User": ANNA, "X-ClickHouse-Key": servers.MEMBERS[ANNA]},
    )
    assert answer.data.decode().strip() == str(sent)


def test_the_edge_asks_it_over_tls_and_no_server_with_another_certificate(
    managed: Managed, tmp_path: Path
) -> None:
    for number, known in enumerate((True, False)):
        (tmp_path / str(number)).mkdir()
        edge = Edge(tmp_path / str(number), Settings())
        edge.placement = replace(edge.placement, warehouse=scale.endpoint(managed.settings, OWN))
        if known:
            edge.environment["SSL_CERT_FILE"] = str(managed.certificate)
        try:
            edge.start()
            login = ("-u", f"{ANNA}:{servers.MEMBERS[ANNA]}")
            reply = edge.curl("/query", *login, "--data-binary", "SELECT currentUser()")
            assert (reply.status, reply.body.strip()) == ((200, ANNA) if known else (502, ""))
        finally:
            edge.stop()


def test_users_as_sql_are_statements_that_the_engine_knows(managed: Managed) -> None:
    """It makes no users by SQL itself (libchdb has no place for them), so it refuses each, but
    only after it has understood it."""
    script = rbac.statements(servers.users(across=False))
    codes = {
        "ACCESS_STORAGE_READONLY",
        "ACCESS_STORAGE_FOR_INSERTION_NOT_FOUND",
        "ACCESS_DENIED",
        "UNKNOWN_USER",
        "UNKNOWN_ROLE",
    }
    for statement in script:
        status, said = managed.server.answer(statement, user="default")
        assert status >= 400, statement
        assert any(f"({code})" in said for code in codes), f"{statement}\n{said}"
        managed.server.rows(f"EXPLAIN AST {statement}")


def test_users_as_sql_say_what_users_xml_says() -> None:
    script = rbac.statements(servers.users(across=False))
    own = f"ON telemetry.telemetry_events FOR SELECT USING member = '{ANNA}' AND synthetic = ''"
    assert f"CREATE ROW POLICY OR REPLACE `{ANNA}` {own} TO `{ANNA}`" in script
    assert f"GRANT telemetry_member TO `{ANNA}`" in script
    assert "GRANT SELECT ON telemetry.usage_daily TO `telemetry_member`" in script
    hashed = access.password_hash(servers.MEMBERS[ANNA])
    assert any(
        each.startswith(f"ALTER USER `{ANNA}` IDENTIFIED WITH sha256_hash BY '{hashed}'")
        and each.endswith("DEFAULT DATABASE telemetry SETTINGS PROFILE 'telemetry_member'")
        for each in script
    )
    profile = next(each for each in script if "PROFILE OR REPLACE `telemetry_member`" in each)
    assert "max_execution_time = 60 MIN 1 MAX 60 CHANGEABLE_IN_READONLY" in profile
    assert "readonly = 1," in profile
    quota = next(each for each in script if "QUOTA OR REPLACE `telemetry_member`" in each)
    assert "KEYED BY user_name FOR INTERVAL 3600 second MAX" in quota
    assert quota.endswith(", ".join(f"`{each}`" for each in sorted(servers.MEMBERS)))
    assert not any("`default`" in each or "READ ON FILE" in each for each in script)
