"""What faces the internet, with the real Caddy: each claim of infra/edge/caddy.py."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra import versions
from infra.edge import caddy
from infra.settings import Settings
from scripts.prepare_tests import CADDY
from stacks.home import PROJECT
from tests.cloud.certificates import Authority, pair
from tests.cloud.edge import Edge, edge
from tests.cloud.programs import collector, member
from tests.conftest import until

OWN = Settings.model_validate(
    {
        "edge": {"allowedRanges": ["203.0.113.0/24"], "domain": "telemetry.example.org"}
        | {"certificate": "own"},
        "identity": {"oidcIssuer": "https://login.example.org", "oidcAudience": "telemetry"},
    }
)
MTLS = Settings.model_validate({"edge": {"clientCertificates": True}})
BASIC = ("-u", "m-annaaaaaaa:one")
_TESTS = pytest.mark.skipif(not CADDY.exists(), reason="Caddy is not built: `make test` builds it")
pytestmark = [pytest.mark.stack, _TESTS]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with edge(tmp_path_factory.mktemp("edge"), OWN) as found:
        yield found


@pytest.fixture(autouse=True)
def _fresh(request: pytest.FixtureRequest) -> None:
    """Nothing came yet, and everything is well."""
    if "running" in request.fixturenames:
        for each in request.getfixturevalue("running").behind.values():
            each.requests.clear()
            each.status, each.headers, each.body = 200, {}, b"rows\n"


def test_the_program_of_the_tests_is_that_of_the_image() -> None:
    [built] = re.findall(
        r"caddyserver/caddy/v2 v(\S+)", (PROJECT / "toolchain/caddy/go.mod").read_text()
    )
    assert versions.EDGE_IMAGE.partition("@")[0] == f"caddy:{built}-alpine"


@pytest.mark.parametrize(
    ("method", "path", "behind", "passed_on"),
    [
        ("POST", "/v1/logs", "ingest", "/v1/logs"),
        ("POST", "/v1/metrics?x=1", "ingest", "/v1/metrics"),
        ("GET", "/query?query=SELECT%201%26%2b1", "warehouse", "/?query=SELECT%201%26%2b1"),
        ("POST", "/query?database=telemetry", "warehouse", "/?database=telemetry"),
        ("POST", "/query", "warehouse", "/"),
    ],
)
@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_three_paths_are_passed_on(
    running: Edge, method: str, path: str, behind: str, passed_on: str, protocol: str
) -> None:
    body = ("--data-binary", "text") if method == "POST" else ()
    reply = running.curl(path, protocol, "-X", method, *BASIC, *body)
    assert (reply.status, reply.body) == (200, "rows\n")
    [request] = running.behind[behind].requests
    assert (request["method"], request["path"]) == (method, passed_on)
    assert request["body"] == (b"text" if body else b"")
    assert request["headers"]["Authorization"].startswith("Basic ")


def test_health_says_well_or_not_and_nothing_more(running: Edge) -> None:
    running.behind["health"].body = b'{"uptime":"1h"}'
    assert (running.curl("/healthz").status, running.curl("/healthz").body) == (200, "")
    running.behind["health"].status = 500
    assert (running.curl("/healthz").status, running.curl("/healthz").body) == (503, "")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/logs"),
        ("PUT", "/v1/logs"),
        ("POST", "/v1/traces"),
        ("POST", "/V1/logs"),
        ("POST", "/v1/logs/"),
        ("POST", "/v1/logs/../metrics/x"),
        ("POST", "/v1/logsx"),
        ("GET", "/query/"),
        ("GET", "/query/../ping"),
        ("GET", "/ping"),
        ("GET", "/play"),
        ("GET", "/metrics"),
        ("GET", "/config/"),
        ("PUT", "/query"),
        ("POST", "/healthz"),
        ("GET", "/healthz/x"),
        ("OPTIONS", "/query"),
        ("TRACE", "/query"),
        ("GET", "/%2e%2e/query"),
    ],
)
def test_nothing_else_is_answered(running: Edge, method: str, path: str) -> None:
    reply = running.curl(path, "-X", method, *BASIC)
    assert (reply.status, reply.body) == (404, "")
    assert [each.requests for each in running.behind.values()] == [[], [], [], []]


def test_another_host_is_not_answered_either(running: Edge) -> None:
    reply = running.curl("/healthz", "-H", "Host: other.example.org")
    assert (reply.status, reply.body) == (404, "")
    assert running.curl("/healthz", host="telemetry.example.org").status == 200
    unknown = running.curl("/healthz", "-k", host="other.example.org")
    assert unknown.status == 0
    assert "alert" in unknown.error


def test_what_answers_is_not_said(running: Edge) -> None:
    running.behind["warehouse"].headers = {
        "X-ClickHouse-Server-Display-Name": "host",
        "X-ClickHouse-Exception-Code": "60",
        "X-ClickHouse-Timezone": "UTC",
        "Access-Control-Expose-Headers": "X-ClickHouse-Query-Id",
        "X-Powered-By": "x",
        "Via": "1.1 inside",
    }
    for path, words in (("/query", BASIC), ("/", ()), ("/healthz", ()), ("/query", ())):
        for status in (200, 404, 500):
            running.behind["warehouse"].status = status
            head = running.curl(path, *words).headers
            names = {line.partition(":")[0] for line in head.splitlines()[1:]}
            assert names <= {
                *("content-type", "content-length", "date", "connection"),
                "strict-transport-security",
            }
            assert "strict-transport-security: max-age=31536000" in head


def test_a_service_that_is_away_is_an_empty_answer_of_a_gateway(running: Edge) -> None:
    away = running.behind["warehouse"]
    away.stop()
    try:
        reply = running.curl("/query?query=SELECT%20secret", *BASIC)
    finally:
        away.start()
    assert (reply.status, reply.body) == (502, "")
    assert "server" not in reply.headers
    said = running.errors.read_text()
    assert "secret" not in said
    assert "m-annaaaaaaa" not in said
    assert "Basic" not in said


def test_a_request_waits_for_a_collector_that_starts_again(running: Edge) -> None:
    away = running.behind["ingest"]
    away.stop()
    words = ("--data-binary", "text", *BASIC, "-H", "Content-Type: application/json")
    command = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", *words]
    asked = subprocess.Popen(
        [*command, f"https://127.0.0.1:{running.port}/v1/logs"], stdout=subprocess.PIPE
    )
    time.sleep(1)
    away.start()
    assert asked.communicate(timeout=20)[0] == b"200"
    assert [each["body"] for each in away.requests] == [b"text"]


@pytest.mark.parametrize(
    "parameters",
    [
        "user=telemetry_admin&password=x",
        "query=SELECT%201&password=x",
        "user",
        "us%65r=telemetry_admin",
        "quota_key=x",
        "session_id=x",
        "role=x",
        "x=1&&user=y",
        "%zz&user=x",
        "a;user=x",
    ],
)
def test_credentials_in_a_url_are_refused(running: Edge, parameters: str) -> None:
    reply = running.curl(f"/query?{parameters}", *BASIC)
    assert (reply.status, reply.body) == (400, "")
    assert running.behind["warehouse"].requests == []


@pytest.mark.parametrize("words", [(), ("-H", "X-ClickHouse-User: a", "-H", "X-ClickHouse-Key: b")])
def test_a_query_without_a_login_is_no_matter_for_clickhouse(
    running: Edge, words: tuple[str, ...]
) -> None:
    assert running.curl("/query?query=SELECT%201", *words).status == 401
    assert running.behind["warehouse"].requests == []


@pytest.mark.parametrize(("path", "behind"), [("/query", "warehouse"), ("/v1/logs", "ingest")])
def test_only_headers_that_are_needed_are_passed_on(running: Edge, path: str, behind: str) -> None:
    claimed = (
        *("X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Real-IP: 10.0.0.1"),
        *("X-ClickHouse-User: admin", "X-ClickHouse-Key: x", "X-ClickHouse-Database: system"),
        *("Cookie: a=b", "Referer: x", "Origin: x", "Upgrade: websocket", "Connection: upgrade"),
        *("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Via: x"),
        *("Content-Type: application/json", "Content-Encoding: gzip", "Accept-Encoding: gzip"),
    )
    words = [word for each in claimed for word in ("-H", each)]
    assert running.curl(path, *BASIC, *words, "--data-binary", "x").status == 200
    [request] = running.behind[behind].requests
    headers = {name.lower(): value for name, value in request["headers"].items()}
    assert set(headers) <= {
        *("authorization", "content-type", "content-encoding", "accept-encoding"),
        *("host", "user-agent", "x-forwarded-for", "content-length", "connection"),
    }
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert (headers["content-type"], headers["content-encoding"]) == ("application/json", "gzip")
    assert headers.get("connection", "close") == "close"


def test_a_token_goes_to_the_door_for_tokens(running: Edge) -> None:
    words = ("-H", "Authorization: Bearer x.y.z", "--data-binary", "x")
    assert running.curl("/v1/logs", *words).status == 200
    assert len(running.behind["tokens"].requests) == 1
    assert running.behind["ingest"].requests == []


@pytest.mark.parametrize(
    ("path", "most", "behind"),
    [("/v1/logs", 20 * 1024**2, "ingest"), ("/query", 1024**2, "warehouse")],
)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_a_body_has_its_limit(
    running: Edge, tmp_path: Path, path: str, most: int, behind: str, chunked: bool, protocol: str
) -> None:
    body = tmp_path / "body"
    words = [protocol, *BASIC, "--data-binary", f"@{body}"]
    words += ["-H", "Transfer-Encoding: chunked"] if chunked and protocol == "--http1.1" else []
    body.write_bytes(b"x" * most)
    assert running.curl(path, *words).status == 200
    [request] = running.behind[behind].requests
    assert len(request["body"]) == most
    body.write_bytes(b"x" * (most + 1))
    assert running.curl(path, *words).status in (413, 502)
    assert [len(each["body"]) for each in running.behind[behind].requests[1:]] == []


def test_headers_have_their_limit(running: Edge) -> None:
    reply = running.curl("/healthz", "--http1.1", "-H", f"X: {'x' * 40_000}")
    assert reply.status in (0, 431)


def _open(running: Edge, **options: Any) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(running.secrets / caddy.CA_CERTIFICATE))
    for name, value in options.items():
        setattr(context, name, value)
    plain = socket.create_connection(("127.0.0.1", running.port), 30)
    return context.wrap_socket(plain, server_hostname="telemetry.example.org")


@pytest.mark.parametrize("kind", ["text/plain", "application/jsonp", "application/json; x", ""])
def test_what_is_no_telemetry_is_not_passed_on(running: Edge, kind: str) -> None:
    header = ("-H", f"Content-Type: {kind}" if kind else "Content-Type;")
    # Over HTTP/2, curl may give up on an answer that comes while it still sends.
    words = ("--http1.1", *BASIC, *header, "--data-binary", "x")
    replies = [running.curl("/v1/logs", *words) for _ in range(10)]
    assert {(reply.status, reply.body) for reply in replies} == {(415, "")}
    assert running.behind["ingest"].requests == []


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(("path", "behind"), [("/query", "warehouse"), ("/v1/logs", "ingest")])
def test_who_is_refused_has_to_connect_anew(
    running: Edge, status: int, path: str, behind: str
) -> None:
    found = running.behind[behind]
    found.status, found.body = status, b"Code: 516 (version 26.8.20.9)"
    ask = f"POST {path} HTTP/1.1\r\nHost: telemetry.example.org\r\nAuthorization: Basic eA==\r\n"
    ask += "Content-Type: application/json\r\n"
    with _open(running) as connection:
        connection.sendall(f"{ask}Content-Length: 0\r\n\r\n".encode())
        text = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert text.startswith(f"HTTP/1.1 {status} ")
    assert "connection: close" in text.lower()
    assert text.endswith("\r\n\r\n"), "no body"
    # The same over HTTP/2, where a connection may carry many requests: it is told to go away.
    kind = ("-H", "Content-Type: application/json")
    words = ("--http2", *BASIC, *kind, "--data-binary", "x", "-v")
    name = f"telemetry.example.org:{running.port}"
    done = subprocess.run(
        [
            *("curl", "-sk", "--connect-to", f"{name}:127.0.0.1:{running.port}", *words),
            *(f"https://{name}{path}", f"https://{name}{path}"),
        ],
        capture_output=True,
        text=True,
    )
    assert "using HTTP/2" in done.stderr
    assert "Re-using existing connection" not in done.stderr
    assert len(re.findall("SSL connection using", done.stderr)) == 2


def test_who_is_refused_by_the_collector_is_told_so(tmp_path: Path) -> None:
    """The collector refuses before it reads: that must not look like its absence, for which a
    client would try again."""
    body = tmp_path / "body"
    body.write_bytes(b"x" * 200_000)
    anna = member("m-annaaaaaaa", "one")
    with (
        collector(tmp_path / "collector", [anna]) as behind,
        edge(tmp_path / "edge", OWN, ingest=f"127.0.0.1:{behind.port}") as found,
    ):
        for protocol in ("--http1.1", "--http2"):
            words = (protocol, "-u", "m-annaaaaaaa:two", "--data-binary", f"@{body}")
            assert {found.curl("/v1/logs", *words).status for _ in range(20)} == {401}, protocol
        json_body = ("--data-binary", "{}")
        for _ in range(20):
            assert found.curl("/v1/logs", *BASIC, *json_body).status == 200
        behind.reload()  # it is away for a moment
        assert {found.curl("/v1/logs", *BASIC, *json_body).status for _ in range(20)} == {200}


def test_slow_requests_are_cut_off(tmp_path: Path) -> None:
    """With the rendered limits made short, so that the test is."""
    found = Edge(tmp_path, OWN)
    config = caddy.config(OWN, found.placement, address="127.0.0.1", ca="own")
    server = config["apps"]["http"]["servers"]["edge"]
    for name in ("read_header_timeout", "read_timeout", "write_timeout", "idle_timeout"):
        assert 0 < int(server[name].removesuffix("s")) <= 120, name
    server |= {"read_header_timeout": "1s", "read_timeout": "2s", "idle_timeout": "1s"}
    host = "Host: telemetry.example.org\r\nAuthorization: Basic eA==\r\n"
    host += "Content-Type: application/json\r\n"
    slow = {
        "headers": f"POST /v1/logs HTTP/1.1\r\n{host}",
        "body": f"POST /v1/logs HTTP/1.1\r\n{host}Content-Length: 100\r\n\r\nx",
        "idle": f"GET /healthz HTTP/1.1\r\n{host}\r\n",
    }
    try:
        found.start(config)
        for what, text in slow.items():
            with _open(found) as connection:
                connection.sendall(text.encode())
                began = time.monotonic()
                while connection.recv(4096):
                    pass
                assert time.monotonic() - began < 10, what
        assert all(each["body"] != b"x" * 100 for each in found.behind["ingest"].requests)
    finally:
        found.stop()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_not_spoken(running: Edge, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(running.secrets / caddy.CA_CERTIFICATE))
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", running.port)) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain, server_hostname="telemetry.example.org")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_of_today_is(running: Edge, version: ssl.TLSVersion) -> None:
    with _open(running, minimum_version=version, maximum_version=version) as connection:
        found = connection.getpeercert()
    assert found
    assert ("DNS", "telemetry.example.org") in found["subjectAltName"]
    lives = ssl.cert_time_to_seconds(str(found["notAfter"])) - time.time()
    assert 0 < lives < 8 * 86400


def test_plain_http_is_not_answered_on_the_port_for_tls(running: Edge) -> None:
    with socket.create_connection(("127.0.0.1", running.port)) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answer = plain.recv(4096)
    assert b" 400 " in answer.splitlines()[0]
    assert b"addy" not in answer


def test_http3_is_off_and_administration_is_not_on_the_network(running: Edge) -> None:
    assert running.process
    open_to = {
        (each.type, each.laddr.port)
        for each in psutil.Process(running.process.pid).net_connections("inet")
        if each.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
    }
    assert open_to == {(socket.SOCK_STREAM, running.port)}


def test_the_log_says_who_asked_for_what_path_and_nothing_of_what(running: Edge) -> None:
    before = len(running.log())
    running.behind["warehouse"].status = 500
    words = (*BASIC, "-H", "Cookie: cookie-of-a-test", "-H", "X-Secret: header-of-a-test")
    running.curl("/query?query=parameter-of-a-test", *words, "--data-binary", "body-of-a-test")
    [line] = until(lambda: running.log()[before:])
    request = line["request"]
    assert request["remote_ip"] == "127.0.0.1"
    assert (request["method"], request["uri"], line["status"]) == ("POST", "/query", 500)
    assert line["size"] == len("rows\n")
    assert line["duration"] >= 0
    assert line["ts"] == pytest.approx(time.time(), abs=60)
    text = (running.folder / "log" / caddy.ACCESS_LOG).read_text() + running.errors.read_text()
    assert re.findall("(?:cookie|header|parameter|body)-of-a-test", text) == []
    assert "m-annaaaaaaa" not in text
    assert "bS1hbm5h" not in text, "base64 of the login"


def test_one_ca_signs_and_no_other_is_made(running: Edge) -> None:
    found = [path.name for path in (running.folder / "data/own/pki/authorities").iterdir()]
    assert len(found) == 1
    assert "installing root" not in running.errors.read_text()


def test_logs_are_bounded() -> None:
    found = caddy.config(OWN, _anywhere())["logging"]["logs"]
    for name in ("access", "handshakes"):
        writer = found[name]["writer"]
        assert 0 < writer["roll_size_mb"] * writer["roll_keep"] <= 1024, name


def _anywhere() -> caddy.Placement:
    return caddy.Placement(
        listen=":8443",
        listen_plain=":8080",
        ingest="collector:4318",
        ingest_tokens="collector:4319",
        health="collector:13133",
        warehouse="http://clickhouse:8123",
        secrets="/secrets",
        data="/data",
        log="/log",
        admin="/run/admin",
    )


@pytest.fixture
def client_ca() -> Authority:
    return Authority("Clients")


def test_only_an_allowed_client_certificate_gets_in_and_revoking_is_taking_it_off_the_list(
    tmp_path: Path, client_ca: Authority
) -> None:
    clients = {name: client_ca.client(name) for name in ("anna", "boris")}
    clients["clara"] = client_ca.client("clara", days=-1)
    clients["foreign"] = Authority("Clients").client("anna")
    found = Edge(tmp_path, MTLS)
    (found.secrets / caddy.CLIENT_CA).write_text(client_ca.certificate)
    allowed = found.secrets / caddy.CLIENT_LEAVES
    for name in ("anna", "clara", "foreign"):
        (allowed / f"{name}.pem").write_text(clients[name][0])

    def get(name: str) -> int:
        cert, key = pair(tmp_path, name, clients[name])
        return found.curl("/healthz", "--cert", cert, "--key", key).status

    try:
        found.start()
        assert get("anna") == 200
        assert get("boris") == 0, "ours, and not on the list"
        assert get("clara") == 0, "expired"
        assert get("foreign") == 0, "of another CA, even on the list"
        assert found.curl("/healthz").status == 0, "none at all"
        [line] = found.log()
        assert "anna" in line["request"]["tls"]["client_common_name"]
        refused = until(lambda: found.log(caddy.HANDSHAKE_LOG))
        assert "127.0.0.1" in json.dumps(refused)
        (allowed / "anna.pem").unlink()
        (allowed / "boris.pem").write_text(clients["boris"][0])
        found.reload()
        assert (get("anna"), get("boris")) == (0, 200)
        for file in allowed.iterdir():
            file.unlink()
        found.reload()
        assert (get("anna"), get("boris")) == (0, 0), "nobody is on the list"
    finally:
        found.stop()


def test_a_revoked_certificate_does_not_come_back_by_its_old_session(
    tmp_path: Path, client_ca: Authority
) -> None:
    found = Edge(tmp_path, MTLS)
    (found.secrets / caddy.CLIENT_CA).write_text(client_ca.certificate)
    certificate = client_ca.client("anna")
    leaf = found.secrets / caddy.CLIENT_LEAVES / "anna.pem"
    leaf.write_text(certificate[0])
    context = ssl.create_default_context(cafile=str(found.secrets / caddy.CA_CERTIFICATE))
    context.load_cert_chain(*pair(tmp_path, "anna", certificate))
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # its session is there with the handshake
    ask = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    def connect(session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", found.port), 10)
        return context.wrap_socket(plain, server_hostname="127.0.0.1", session=session)

    try:
        found.start()
        with connect() as first:
            first.sendall(ask)
            assert first.recv(4096).startswith(b"HTTP/1.1 200")
            session = first.session
            assert session
            leaf.unlink()
            found.reload()
            assert _gone(lambda: connect(session), ask)
            # Nor does a connection that was open before live on.
            assert _gone(lambda: first, ask)
    finally:
        found.stop()


def _gone(connect: Callable[[], ssl.SSLSocket], ask: bytes) -> bool:
    try:
        connection = connect()
        connection.sendall(ask)
        return connection.recv(4096) == b""
    except OSError:
        return True


@pytest.mark.parametrize("certificate", ["acme", "own"])
@pytest.mark.parametrize("clients", [False, True])
def test_caddy_accepts_every_rendering(tmp_path: Path, certificate: str, clients: bool) -> None:
    found = Edge(tmp_path, OWN)
    settings = Settings.model_validate(
        {
            "edge": {"domain": "telemetry.example.org", "certificate": certificate}
            | {"acmeEmail": "a@example.org", "clientCertificates": clients}
        }
    )
    (found.secrets / caddy.CLIENT_CA).write_text(found.ca.certificate)
    file = tmp_path / "caddy.json"
    file.write_text(
        caddy.render(caddy.config(settings, found.placement, address="203.0.113.9", ca="x"))
    )
    done = subprocess.run(
        [CADDY, "validate", "--config", file],
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path)},
    )
    found.stop()
    assert done.returncode == 0, done.stderr
