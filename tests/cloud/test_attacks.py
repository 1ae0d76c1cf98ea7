"""Whoever comes from the internet to the shared endpoint, and what they get: nothing, and a line in
the log."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from tests import made
from tests.cloud.endpoint import ADDRESS, STRANGERS, Endpoint, Person, started, until
from tests.cloud.outside import JSON, Answer, Outside, basic

pytestmark = pytest.mark.engine

_MIB = 1024 * 1024


@pytest.fixture(scope="module")
def shared(
    docker_client: docker.DockerClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Endpoint]:
    """One that runs, with two members who have sent something, a coordinator and an auditor."""
    with started(docker_client, tmp_path_factory.mktemp("endpoint")) as found:
        for name in ("anna", "ben"):
            person = found.person(name)
            body = made.request(made.log(f"secret-of-{name}"))
            assert found.outside().send(person.ingest_login, person.ingest, body).status == 200
        until(lambda: found.admin("SELECT count() FROM telemetry.telemetry_events") == [["2"]])
        yield found


@pytest.fixture
def anna(shared: Endpoint) -> Person:
    return shared.person("anna")


@pytest.fixture
def ben(shared: Endpoint) -> Person:
    return shared.person("ben")


@pytest.fixture
def outside(shared: Endpoint) -> Outside:
    return shared.outside()


@pytest.fixture(autouse=True)
def _breath(shared: Endpoint) -> Iterator[None]:
    """Each attack leaves the endpoint well, and the bucket of new connections fills up again."""
    yield
    time.sleep(0.5)
    until(shared.answers, 30)


def silent(answer: Answer) -> bool:
    """Says nothing of what stands behind it."""
    told = json.dumps(dict(answer.headers)).lower() + answer.text.lower()
    return not any(
        word in told for word in ("caddy", "clickhouse", "otel", "go-http", "via", "version")
    )


# --- who has no credentials, wrong ones, or another's


@pytest.mark.parametrize("path", ["/v1/logs", "/v1/metrics"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Bearer x"},
        basic("m-annaxxxxxx", ""),
        basic("", ""),
        basic("telemetry_ingest", "x"),
        basic("m-annaxxxxxx", "wrong"),
        basic("m-nobodyxxxx", "wrong"),
    ],
)
def test_nobody_sends_without_their_own_credential(
    outside: Outside, path: str, headers: dict[str, str]
) -> None:
    answer = outside.request("POST", path, body=b"{}", headers={**JSON, **headers})
    assert answer.status == 401
    assert silent(answer)


def test_a_credential_is_good_for_one_person_and_one_purpose(
    outside: Outside, anna: Person, ben: Person
) -> None:
    for login, password in (
        (anna.ingest_login, ben.ingest),
        (ben.ingest_login, anna.ingest),
        (anna.ingest_login, anna.query),
        (anna.id, anna.ingest),  # anna's login has her team in it
        (f"{ben.id}+book", ben.ingest),
        (f"{ben.id}.2", ben.ingest),
    ):
        assert outside.send(login, password, b"{}").status == 401, login
    for login, password in ((anna.id, anna.ingest), (anna.id, ben.query), (anna.id, "")):
        assert outside.ask(login, password, "SELECT 1").status in (401, 403), login


def test_coordinators_and_auditors_send_nothing(shared: Endpoint, outside: Outside) -> None:
    for name in ("cora", "adam"):
        person = shared.person(name)
        assert outside.send(person.id, person.query, b"{}").status == 401


@pytest.mark.parametrize(
    "user", ["default", "telemetry_admin", "telemetry_ingest", "telemetry_views"]
)
def test_no_user_of_the_store_itself_comes_through_the_edge(outside: Outside, user: str) -> None:
    for password in ("", "x"):
        assert outside.ask(user, password, "SELECT 1").status in (401, 403)
    answer = outside.request(
        "POST", "/query", body=b"SELECT 1", headers={"X-ClickHouse-User": user}
    )
    assert answer.status in (401, 403)


def test_who_one_is_is_said_in_one_place(outside: Outside, anna: Person, ben: Person) -> None:
    """Not in the address, and not by one header against the other."""
    for query in (f"user={ben.id}&password={ben.query}", f"user={ben.id}", "role=telemetry_admin"):
        answer = outside.request("POST", f"/query?{query}", body=b"SELECT currentUser()")
        assert answer.status in (400, 401, 403, 404), query
        assert ben.id not in answer.text
    other = {"X-ClickHouse-User": ben.id, "X-ClickHouse-Key": ben.query}
    answer = outside.ask(anna.id, anna.query, "SELECT currentUser()", headers=other)
    assert answer.status in (400, 401, 403) or answer.text == anna.id


# --- who lies about themselves


def test_what_a_client_says_of_its_member_and_team_is_dropped(
    shared: Endpoint, outside: Outside, ben: Person
) -> None:
    session = f"liar-{time.time_ns()}"
    lies: dict[str, Any] = {
        "member": "m-annaxxxxxx",
        "team": "book",
        "telemetry.login": "m-annaxxxxxx+book",
        "telemetry.subject": "anna",
        "telemetry.purge_hash": "0" * 32,
        "telemetry.aside": "x",
        "weight": "1000",
    }
    body = made.request(made.log(session, attributes=lies), resource=lies)
    headers = {"X-Member": "m-annaxxxxxx", "X-Forwarded-User": "m-annaxxxxxx"}
    assert outside.send(ben.ingest_login, ben.ingest, body, headers=headers).status == 200
    asked = (
        "SELECT member, team, weight, extra FROM telemetry.telemetry_events "
        f"WHERE session_id = '{session}'"
    )
    until(lambda: shared.admin(asked))
    assert shared.admin(asked) == [[ben.id, "", "1", "{}"]]


def test_the_address_in_the_log_is_the_one_the_edge_saw(shared: Endpoint, anna: Person) -> None:
    stranger = shared.outside(STRANGERS[1])
    mark = f"asked_{time.time_ns()}"
    lied = {"X-Forwarded-For": "203.0.113.77", "Forwarded": "for=203.0.113.77"}
    assert stranger.ask(anna.id, anna.query, f"SELECT 1 AS {mark}", headers=lied).status == 200
    asked = (
        "SELECT DISTINCT forwarded_for FROM system.query_log "
        f"WHERE query LIKE '%{mark}%' AND user = '{anna.id}'"
    )
    shared.admin("SYSTEM FLUSH LOGS")
    assert shared.admin(asked) == [[STRANGERS[1]]]


# --- who speaks another TLS


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_old_tls_is_refused(outside: Outside, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection((outside.address, 443), 5) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
        context.wrap_socket(plain, server_hostname=ADDRESS),
    ):
        pass


@pytest.mark.parametrize("ciphers", ["NULL:aNULL", "RC4:3DES:DES", "kRSA", "CBC"])
def test_a_weak_cipher_is_refused(outside: Outside, ciphers: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    except ssl.SSLError:
        pytest.skip(f"OpenSSL of this machine has none of {ciphers} to offer")
    with (
        socket.create_connection((outside.address, 443), 5) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
        context.wrap_socket(plain, server_hostname=ADDRESS),
    ):
        pass


def test_who_does_not_trust_our_ca_is_not_served_something_else(outside: Outside) -> None:
    with (
        contextlib.closing(http.client.HTTPSConnection(outside.address, timeout=5)) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        connection.request("GET", "/healthz")


def test_without_tls_nothing_is_answered(outside: Outside) -> None:
    said = outside.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", tls=False)
    assert b"200" not in said
    assert b"caddy" not in said.lower()


# --- who asks for what is not there


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/play",
        "/dashboard",
        "/ping",
        "/replicas_status",
        "/metrics",
        "/v1/traces",
        "/v1",
        "/v1/logs/",
        "/v1/logs/../../query",
        "//query",
        "/query/",
        "/query/play",
        "/query/%2e%2e/play",
        "/query%2f..%2fplay",
        "/config/",
        "/debug/pprof/",
        "/.well-known/acme-challenge/x",
        "/healthz/../metrics",
        "/HEALTHZ",
    ],
)
def test_any_other_path_is_not_there(outside: Outside, anna: Person, path: str) -> None:
    for method in ("GET", "POST"):
        answer = outside.request(method, path, headers=basic(anna.id, anna.query))
        assert answer.status in (400, 404), path
        assert answer.body == b""
        assert silent(answer)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "X"])
def test_any_other_method_is_not_there(outside: Outside, anna: Person, method: str) -> None:
    for path in ("/query", "/v1/logs", "/healthz"):
        answer = outside.request(method, path, headers=basic(anna.id, anna.query))
        assert answer.status in (400, 404, 405, 501), path
        assert silent(answer)


def test_a_proxy_it_is_not(outside: Outside) -> None:
    for line in (b"CONNECT 169.254.169.254:80 HTTP/1.1", b"GET http://169.254.169.254/ HTTP/1.1"):
        said = outside.raw(line + b"\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n")
        assert b" 200 " not in said.split(b"\r\n")[0]


def test_another_name_of_the_host_is_not_there(outside: Outside, anna: Person) -> None:
    headers = {**basic(anna.id, anna.query), "Host": "internal.example"}
    answer = outside.request("POST", "/query", body=b"SELECT 1", headers=headers)
    assert answer.status in (400, 404, 421)


# --- who sends too much, too slowly, or rubbish


def test_what_is_too_large_is_refused(outside: Outside, anna: Person) -> None:
    for size in (21 * _MIB, 60 * _MIB):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            # It may be cut off before it has been sent.
            answer = outside.send(anna.ingest_login, anna.ingest, b" " * size)
            assert answer.status in (400, 413)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        answer = outside.ask(anna.id, anna.query, f"SELECT 1 -- {'x' * 2 * _MIB}")
        assert answer.status == 413


def test_what_grows_when_it_is_unpacked_is_refused(outside: Outside, anna: Person) -> None:
    bomb = gzip.compress(b" " * (400 * _MIB), 9)
    assert len(bomb) < _MIB
    answer = outside.send(
        anna.ingest_login, anna.ingest, bomb, headers={"Content-Encoding": "gzip"}
    )
    assert answer.status in (400, 413)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"resourceLogs": 7}', "application/json"),
        (b"\xff" * 1000, "application/x-protobuf"),
        (b"\x0a\xff\xff\xff\xff\x0f", "application/x-protobuf"),
        (b"<a/>", "text/xml"),
        (b"{}", "text/plain"),
    ],
)
def test_rubbish_is_refused_and_does_no_harm(
    outside: Outside, anna: Person, body: bytes, kind: str
) -> None:
    answer = outside.send(anna.ingest_login, anna.ingest, body, headers={"Content-Type": kind})
    assert answer.status in (200, 400, 415)
    assert silent(answer)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 5000,
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /query HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /query HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /play HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /query HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    ],
)
def test_no_http_does_no_harm(outside: Outside, data: bytes) -> None:
    said = outside.raw(data, seconds=5)
    assert b" 200 " not in said.split(b"\r\n")[0]
    assert b"caddy" not in said.lower()


def test_who_is_slow_is_cut_off(outside: Outside) -> None:
    """Headers that never end, and a body that never comes; others are served meanwhile."""
    slow = []
    try:
        for opening in (
            b"POST /v1/logs HTTP/1.1\r\nHost: x\r\n",
            b"POST /v1/logs HTTP/1.1\r\nHost: 172.29.7.10\r\nContent-Length: 1000\r\n\r\n{",
        ):
            plain = socket.create_connection((outside.address, 443), 10)
            wrapped = outside.context().wrap_socket(plain, server_hostname=outside.address)
            wrapped.sendall(opening)
            slow.append(wrapped)
        began = time.monotonic()
        assert outside.request("GET", "/healthz").status == 200
        for each in slow:
            each.settimeout(90)
            ended = time.monotonic() + 90
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while each.recv(4096):
                    assert time.monotonic() < ended
        assert time.monotonic() - began < 90
    finally:
        for each in slow:
            each.close()


def test_many_idle_connections_keep_nobody_out(shared: Endpoint, anna: Person) -> None:
    held = []
    try:
        for _ in range(60):
            held.append(socket.create_connection((ADDRESS, 443), 5, (STRANGERS[2], 0)))
        assert shared.outside().send(anna.ingest_login, anna.ingest, b"{}").status == 200
    finally:
        for each in held:
            each.close()


# --- who tries many times


def test_guessing_is_slowed_down_and_written_down(shared: Endpoint, ben: Person) -> None:
    """Each wrong guess ends its connection, and new connections are counted by address."""
    guesser, others = shared.outside(STRANGERS[3]), shared.outside(STRANGERS[4])
    began, tried = time.monotonic(), 0
    while time.monotonic() - began < 20:
        with contextlib.suppress(OSError):
            answer = guesser.request(
                "POST", "/v1/logs", body=b"{}", headers={**JSON, **basic(ben.id, f"{tried}")},
                seconds=2,
            )  # fmt: skip
            assert answer.status == 401
            assert answer.headers.get("connection") == "close"
            tried += 1
    edge = shared.settings.edge
    most = edge.connections_burst + edge.connections_per_second * 22
    assert tried <= most, "more than were let in"
    # Who has done nothing is not concerned.
    assert others.send(ben.ingest_login, ben.ingest, b"{}").status == 200
    counted = (
        f"SELECT count() FROM telemetry.edge_log WHERE status = 401 AND address = '{STRANGERS[3]}'"
    )
    until(lambda: int(shared.admin(counted)[0][0]) >= tried, 120)


def test_wrong_passwords_of_people_are_written_down(shared: Endpoint, anna: Person) -> None:
    stranger = shared.outside(STRANGERS[5])
    for _ in range(3):
        assert stranger.ask(anna.id, "wrong", "SELECT 1").status in (401, 403)
    failed = (
        "SELECT count() FROM telemetry.access_log WHERE action = 'login' AND result = 'denied' "
        f"AND user = '{anna.id}' AND address = '{STRANGERS[5]}'"
    )
    until(lambda: int(shared.admin(failed)[0][0]) >= 3, 120)


# --- who asks for what is not theirs


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM telemetry.telemetry_events WHERE session_id = 'secret-of-ben'",
        "SELECT * FROM telemetry.telemetry_events WHERE member != currentUser()",
        "SELECT * FROM telemetry.sessions_daily WHERE session_id = 'secret-of-ben'",
        "SELECT * FROM telemetry.sessions WHERE session_id = 'secret-of-ben'",
        "SELECT * FROM merge('telemetry', '^telemetry_events$') WHERE session_id LIKE '%ben'",
        "SELECT throwIf(session_id = 'secret-of-ben') FROM telemetry.telemetry_events FORMAT Null",
        "SELECT a.session_id FROM telemetry.telemetry_events a "
        "RIGHT JOIN telemetry.telemetry_events b ON 1 = 1 WHERE b.session_id LIKE '%ben'",
        "WITH (SELECT groupArray(session_id) FROM telemetry.telemetry_events) AS s "
        "SELECT arrayFilter(x -> x LIKE '%ben', s) AS f WHERE notEmpty(f)",
    ],
)
def test_a_member_does_not_see_anothers_rows(outside: Outside, anna: Person, sql: str) -> None:
    answer = outside.ask(anna.id, anna.query, sql)
    assert "secret-of-ben" not in answer.text.replace("= 'secret-of-ben'", "")
    if answer.status == 200:
        assert answer.text == ""


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM system.query_log",
        "SELECT * FROM system.users",
        "SELECT * FROM telemetry.access_log",
        "SELECT * FROM telemetry_team.usage_daily",
        "SELECT * FROM file('/etc/hosts', 'LineAsString')",
        "SELECT * FROM file('edge/*', 'LineAsString')",
        "SELECT * FROM url('http://169.254.169.254/', 'LineAsString')",
        "SELECT * FROM remote('127.0.0.1', system.one)",
        "SELECT * FROM executable('id', 'TSV', 'x String')",
        "INSERT INTO telemetry.telemetry_events (event) VALUES ('x')",
        "INSERT INTO telemetry.otel_logs_in (Body) VALUES ('x')",
        "ALTER TABLE telemetry.telemetry_events DELETE WHERE 1",
        "DROP TABLE telemetry.telemetry_events",
        "CREATE TABLE t (x UInt8) ENGINE = Memory",
        "SET log_queries = 0",
        "SELECT 1 SETTINGS log_queries = 0",
        "SELECT count() FROM telemetry.telemetry_events SETTINGS final = 0",
        "KILL QUERY WHERE 1",
        "SYSTEM SHUTDOWN",
        "BACKUP TABLE telemetry.telemetry_events TO File('x')",
        "SELECT sleepEachRow(3) FROM numbers(1000)",
        "SELECT count() FROM numbers(100000000000)",
    ],
)
def test_a_member_is_refused_what_is_not_for_members(
    outside: Outside, anna: Person, sql: str
) -> None:
    answer = outside.ask(anna.id, anna.query, sql)
    assert answer.status >= 400
    assert silent(Answer(answer.status, answer.headers, b""))


def test_a_coordinator_sees_no_row_of_anyone(shared: Endpoint, outside: Outside) -> None:
    cora = shared.person("cora")
    for table in ("telemetry_events", "metric_points", "sessions", "sessions_daily_store"):
        assert outside.ask(cora.id, cora.query, f"SELECT * FROM telemetry.{table}").status >= 400
    assert outside.ask(cora.id, cora.query, "SELECT sum(cost_usd) FROM usage_daily").status == 200


def test_an_auditor_sees_the_log_and_nothing_else(shared: Endpoint, outside: Outside) -> None:
    adam = shared.person("adam")
    found = outside.ask(adam.id, adam.query, "SELECT count() FROM telemetry.access_log")
    assert found.status == 200
    for table in (
        "telemetry.telemetry_events",
        "telemetry.usage_daily",
        "telemetry_team.usage_daily",
    ):
        assert outside.ask(adam.id, adam.query, f"SELECT * FROM {table}").status >= 400


def test_a_rebuilt_connection_over_http_2_is_ended_as_well(shared: Endpoint) -> None:
    """After a wrong guess the server says goodbye on HTTP/2 too."""
    said = subprocess.run(
        [
            *("curl", "-sv", "--http2", "--cacert", str(shared.ca), "--max-time", "20"),
            *("-u", "m-nobodyxxxx:x", "-d", "{}", "-H", "Content-Type: application/json"),
            *(f"https://{ADDRESS}/v1/logs", "--next", "-s", "-u", "m-nobodyxxxx:y", "-d", "{}"),
            *("--cacert", str(shared.ca), f"https://{ADDRESS}/v1/logs"),
        ],
        capture_output=True,
        text=True,
    ).stderr
    if "HTTP/2" not in said:
        pytest.skip("curl of this machine speaks no HTTP/2")
    assert "HTTP/2 401" in said
    assert "Re-using existing connection" not in said.partition("HTTP/2 401")[2]
