"""The shared endpoint runs on one machine, and changes while it runs."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest
import urllib3
import yaml

from infra.collector import queue
from infra.host.names import CLIENTS, EDGE, KEYS
from stacks.home import PROJECT
from tests import made, recorded
from tests.cloud.certificates import Authority, pair
from tests.cloud.conftest import NAMES, new_desk
from tests.cloud.endpoint import ADDRESS, STRANGERS, TUNNEL, Endpoint, Person, started, until
from tests.cloud.outside import JSON
from tests.conftest import free_ports

pytestmark = pytest.mark.engine

MINUTE = 60
"""What changes reaches the machine within one; with what the engine at hand adds to that."""


@pytest.fixture(scope="module")
def shared(
    docker_client: docker.DockerClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Endpoint]:
    """One that runs, with two members, a coordinator and an auditor."""
    with started(docker_client, tmp_path_factory.mktemp("endpoint")) as found:
        yield found


@pytest.fixture
def anna(shared: Endpoint) -> Person:
    return shared.person("anna")


@pytest.fixture
def ben(shared: Endpoint) -> Person:
    return shared.person("ben")


def stored(shared: Endpoint, session: str) -> int:
    [[rows]] = shared.admin(
        f"SELECT count() FROM telemetry.telemetry_events WHERE session_id = '{session}'"
    )
    return int(rows)


def test_recorded_events_of_a_member_are_theirs(
    shared: Endpoint, anna: Person, ben: Person
) -> None:
    [request] = recorded.shifted([next(recorded.requests("logs", "2.1.330"))])
    sent = sum(1 for _ in recorded.events(request))
    body = json.dumps(request.body).encode()
    session = next(recorded.events(request))[0]["session.id"]
    assert shared.outside().send(anna.ingest_login, anna.ingest, body).status == 200
    until(lambda: stored(shared, session) == sent)
    rows = shared.admin(
        "SELECT DISTINCT member, team FROM telemetry.telemetry_events "
        f"WHERE session_id = '{session}'"
    )
    assert rows == [[anna.id, "book"]]
    count = f"SELECT count() FROM telemetry_events WHERE session_id = '{session}'"
    assert shared.outside().ask(anna.id, anna.query, count).text == str(sent)
    assert shared.outside().ask(ben.id, ben.query, count).text == "0"


def test_nothing_changes_where_nothing_changed(shared: Endpoint) -> None:
    before = shared.machine.containers()
    downloads, asked = shared.google.downloads, len(shared.google.asked)
    until(lambda: len(shared.google.asked) > asked + 10, 90)
    assert shared.machine.containers() == before
    assert shared.google.downloads == downloads, "the bundle is fetched where it changed"


def test_a_service_that_is_away_makes_an_alert_until_it_is_back(
    shared: Endpoint, ben: Person
) -> None:
    words, session = NAMES.alert("health"), f"watched-{time.time_ns()}"
    body = made.request(made.log(session))
    assert shared.outside().send(ben.ingest_login, ben.ingest, body).status == 200
    until(lambda: stored(shared, session) == 1)

    def logged() -> list[str]:
        found = [entry for request in shared.google.logged for entry in request["entries"]]
        return [entry["textPayload"] for entry in found]

    def look() -> list[str]:
        """What the timer does every minute."""
        shared.machine.run("systemctl", "start", "telemetry-watch.service")
        return logged()

    assert shared.machine.run("systemctl", "is-active", "telemetry-watch.timer").strip() == "active"
    assert look() == [], shared.machine.journal("telemetry-watch")
    # The collector's counters were read: what was stored, and since when nothing waits.
    counted = shared.machine.file("/run/telemetry/watch/queue-logs")
    assert re.fullmatch(r"[1-9]\d* \d{10}\n", counted), counted
    shared.machine.run("systemctl", "stop", "telemetry-clickhouse")
    try:
        # Its own timer comes on top.
        until(look, 120)
        assert logged() == [f"{words}: clickhouse does not answer"]
    finally:
        shared.machine.run("systemctl", "start", "telemetry-clickhouse")
    until(lambda: look()[1:], 120)
    assert logged()[1:] == ["telemetry-cloud: health is in order again"]
    assert words in shared.machine.journal("telemetry-watch")


def test_a_new_member_is_let_in_within_a_minute_and_nothing_is_made_anew(shared: Endpoint) -> None:
    before = shared.machine.containers()
    dora = shared.let_in(Person.made("dora"))
    outside = shared.outside()
    until(lambda: outside.send(dora.ingest_login, dora.ingest, b"{}").status == 200, MINUTE)
    until(lambda: outside.ask(dora.id, dora.query, "SELECT 1").status == 200, MINUTE)
    shared.shut_out(dora)
    until(lambda: outside.send(dora.ingest_login, dora.ingest, b"{}").status == 401, MINUTE)
    until(lambda: outside.ask(dora.id, dora.query, "SELECT 1").status in (401, 403), MINUTE)
    assert shared.machine.containers() == before


def test_no_event_is_lost_or_doubled_while_members_rules_and_retention_change(
    shared: Endpoint, ben: Person
) -> None:
    """Who sends tries again until it is taken, as a member's collector does."""
    session, stop, sent = f"steady-{time.time_ns()}", threading.Event(), 0

    def send() -> None:
        nonlocal sent
        while not stop.is_set():
            attributes = {"event.sequence": sent}
            body = made.request(made.log(session, attributes=attributes))
            while True:
                try:
                    reply = shared.outside().send(ben.ingest_login, ben.ingest, body)
                except OSError:
                    reply = None
                if reply is not None and reply.status == 200:
                    break
                assert reply is None or reply.status in (502, 503), reply
                time.sleep(0.2)
            sent += 1
            time.sleep(0.05)

    before = shared.machine.containers()
    thread = threading.Thread(target=send)
    thread.start()
    try:
        extra = shared.let_in(Person.made("emil"))
        outside = shared.outside()
        until(lambda: outside.ask(extra.id, extra.query, "SELECT 1").status == 200, MINUTE)
        shared.values["retention"] = {"eventsDays": 60}
        shared.values["code"] = {"excludeTools": ["WebFetch"]}
        shared.render()
        until(lambda: "toIntervalDay(60)" in ttl(shared), MINUTE)
        until(lambda: shared.machine.containers() != before, MINUTE)
        until(shared.answers, MINUTE)
        time.sleep(3)
    finally:
        stop.set()
        thread.join()
    until(lambda: stored(shared, session) == sent, 60, f"{sent} were sent")
    after = shared.machine.containers()
    same = {name for name in before if before[name] == after.get(name)}
    assert {"telemetry-clickhouse", "telemetry-edge"} <= same, "only the collector's rules changed"


def ttl(shared: Endpoint) -> str:
    [[query]] = shared.admin(
        "SELECT create_table_query FROM system.tables WHERE name = 'telemetry_events'"
    )
    return query


def test_a_configuration_that_its_program_refuses_is_kept_out(
    shared: Endpoint, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, good = shared.machine.containers(), shared.google.bundle
    monkeypatch.setattr(queue, "STORAGE", "no_such_extension/queue")
    shared.render()
    monkeypatch.undo()
    try:
        said = "The old configuration stays"
        until(lambda: said in shared.machine.journal("telemetry-fetch"), MINUTE)
        # Members come and go all the same.
        late = shared.let_in(Person.made("late"))
        outside = shared.outside()
        until(lambda: outside.send(late.ingest_login, late.ingest, b"{}").status == 200, MINUTE)
        assert outside.send(anna.ingest_login, anna.ingest, b"{}").status == 200
        assert shared.machine.containers() == before
    finally:
        shared.google.bundle = good


def test_google_away_changes_nothing_for_members(shared: Endpoint, anna: Person) -> None:
    shared.google.broken |= {"metadata", "storage", "secrets"}
    try:
        said = "what was fetched last stays"
        until(lambda: said in shared.machine.journal("telemetry-fetch"), MINUTE)
        assert shared.outside().send(anna.ingest_login, anna.ingest, b"{}").status == 200
    finally:
        shared.google.broken.clear()


def test_no_secret_is_where_it_should_not_be(shared: Endpoint, anna: Person) -> None:
    keys = shared.google.secrets[NAMES.secret(KEYS)]
    found = [line.partition("=")[2] for line in keys.splitlines()]
    private = shared.google.secrets[NAMES.secret(EDGE)].partition("PRIVATE KEY-----\n")[2][:60]
    secrets = [*found, private, anna.ingest, anna.query]
    assert all(len(each) > 20 for each in secrets)
    machine = shared.machine
    environments = "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
    places = {
        "process list": machine.shell(f"ps -eo args; {environments}"),
        "docker inspect": machine.shell("docker inspect $(docker ps -aq)"),
        "journal": machine.run("journalctl", "--no-pager"),
        "logs of containers": machine.shell(
            "for each in $(docker ps -aq); do docker logs $each 2>&1; done"
        ),
        "user-data": machine.shell("cat /var/lib/cloud/seed/nocloud/user-data /etc/telemetry/*"),
        "bundle": shared.google.bundle,
    }
    for place, text in places.items():
        assert not [each for each in secrets if each in text], place
    patterns = "\n".join(secrets)
    hits = machine.shell(
        f"cat > /run/patterns <<'EOF'\n{patterns}\nEOF\n"
        "grep -rFl --binary-files=text -f /run/patterns /etc /var/lib/cloud /var/log /root "
        "/mnt/disks/telemetry || true; rm /run/patterns"
    )
    assert hits.split() == []


@pytest.mark.usefixtures("shared")
def test_one_port_answers_from_outside() -> None:
    open_ports = []
    ours = (2019, 2375, 4317, 4318, 4319, 8080, 8123, 8443, 8888, 9000, 13133)
    for port in (*range(1, 1024), *ours):
        with socket.socket() as probe:
            probe.settimeout(0.3)
            if probe.connect_ex((ADDRESS, port)) == 0:
                open_ports.append(port)
    assert open_ports == [443]


def test_the_administrator_comes_through_googles_tunnel_only(shared: Endpoint) -> None:
    assert shared.admin("SELECT currentUser()") == [["telemetry_admin"]]
    with pytest.raises(TimeoutError):
        socket.create_connection((ADDRESS, 8123), 3, (STRANGERS[0], 0))
    reply = shared.outside().ask("telemetry_admin", shared.admin_password, "SELECT 1")
    assert reply.status in (401, 403), "through the edge nobody is an administrator"
    lied = {"X-Forwarded-For": TUNNEL}
    reply = shared.outside().ask("telemetry_admin", shared.admin_password, "SELECT 1", headers=lied)
    assert reply.status in (401, 403), "whatever address they say they come from"


COLLECTOR_PROGRAM = PROJECT / "build" / "otelcol-telemetry"
COLLECTOR = """
receivers: {otlp: {protocols: {http: {endpoint: "127.0.0.1:PORT"}}}}
extensions:
  file_storage: {directory: FOLDER/queue, create_directory: true}
  basicauth: {client_auth: {username: LOGIN, password: "${file:FOLDER/password}"}}
exporters:
  otlphttp:
    endpoint: https://ADDRESS
    tls: {ca_file: CA}
    auth: {authenticator: basicauth}
    sending_queue: {storage: file_storage}
    retry_on_failure: {max_elapsed_time: 0, initial_interval: 500ms, max_interval: 2s}
service:
  extensions: [file_storage, basicauth]
  telemetry: {metrics: {level: none}}
  pipelines: {logs: {receivers: [otlp], exporters: [otlphttp]}}
"""


def test_a_members_collector_forwards_and_waits_while_the_store_is_away(
    shared: Endpoint, anna: Person, tmp_path: Path
) -> None:
    """From another network namespace, over TLS."""
    [port] = free_ports(1)
    (tmp_path / "password").write_text(anna.ingest)
    values = {"FOLDER": tmp_path, "LOGIN": anna.ingest_login, "CA": shared.ca, "PORT": port}
    text = COLLECTOR.replace("ADDRESS", ADDRESS)
    for name, value in values.items():
        text = text.replace(name, str(value))
    (tmp_path / "config.yaml").write_text(text)
    found = recorded.shifted([*recorded.requests("logs", "2.1.330")][:6])
    told = {event["session.id"] for each in found for event, _, _ in recorded.events(each)}
    sessions = ", ".join(f"'{each}'" for each in told)
    sent = sum(1 for each in found for _ in recorded.events(each))
    counted = (
        "SELECT count() FROM telemetry.telemetry_events FINAL "
        f"WHERE member = '{anna.id}' AND session_id IN ({sessions})"
    )
    shared.admin(f"DELETE FROM telemetry.telemetry_events WHERE session_id IN ({sessions})")
    process = subprocess.Popen([COLLECTOR_PROGRAM, "--config", tmp_path / "config.yaml"])
    try:
        address = f"http://127.0.0.1:{port}/v1/logs"

        def send(request: recorded.Recorded) -> bool:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                body = json.dumps(request.body).encode()
                reply = urllib3.request("POST", address, body=body, headers=JSON, retries=False)
                return reply.status == 200
            return False

        until(lambda: send(found[0]))
        shared.machine.shell("systemctl stop telemetry-edge telemetry-clickhouse")
        assert all(send(each) for each in found[1:])
        shared.machine.shell("systemctl start telemetry-clickhouse telemetry-edge")
        until(lambda: shared.answers() and int(shared.admin(counted)[0][0]) == sent, 90)
    finally:
        process.terminate()
        process.wait()


def test_client_certificates_are_asked_for_once_they_are_switched_on(
    shared: Endpoint, ben: Person, tmp_path: Path
) -> None:
    ours, foreign = Authority("Members"), Authority("Members")
    good, revoked = ours.client(ben.id), ours.client("m-revokedxxx")
    named = {
        "good": good,
        "expired": ours.client(ben.id, days=-1),
        "revoked": revoked,
        "foreign": foreign.client(ben.id),
    }
    pairs = {name: pair(tmp_path, name, each) for name, each in named.items()}
    allowed = NAMES.secret(CLIENTS)
    expired = named["expired"][0]
    shared.google.secrets[allowed] = ours.certificate + good[0] + revoked[0] + expired
    edge = dict(shared.values["edge"])
    shared.values["edge"] = {**edge, "clientCertificates": True}
    shared.render()

    def status(name: str) -> int:
        """0: no connection at all."""
        client = tuple(Path(each) for each in pairs[name]) if name else None
        outside = replace(shared.outside(), client=client)  # type: ignore[arg-type]
        with contextlib.suppress(OSError):
            return outside.send(ben.ingest_login, ben.ingest, b"{}").status
        return 0

    try:
        until(lambda: status("") == 0, MINUTE)
        until(lambda: status("good") == 200, MINUTE)
        assert status("revoked") == 200, "it is not revoked yet"
        assert (status("expired"), status("foreign")) == (0, 0)
        shared.google.secrets[allowed] = ours.certificate + good[0]
        until(lambda: status("revoked") == 0, MINUTE)
        assert status("good") == 200
    finally:
        shared.values["edge"] = edge
        shared.render()
    until(lambda: status("") == 200, MINUTE)


def test_a_ca_that_is_none_is_kept_out(shared: Endpoint) -> None:
    secrets, name = shared.google.secrets, NAMES.secret(EDGE)
    good, other = secrets[name], Authority()
    secrets[name] = shared.authority.certificate + other.key
    try:
        said = "edge does not accept its new configuration"
        until(lambda: said in shared.machine.journal("telemetry-fetch"), MINUTE)
        assert shared.answers()
    finally:
        secrets[name] = good


def test_what_the_command_writes_is_what_the_machine_lives_by(
    shared: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From `telemetry member add` to the first answer: with keys, a CA and a list of its making."""
    desk, person = (new_desk(tmp_path_factory.mktemp(name)) for name in ("desk", "person"))
    (desk.gcloud / "address").write_text(ADDRESS)
    (desk.gcloud / "tunnel").write_text(f"{ADDRESS} 8123 {TUNNEL}")
    file = desk.folder / "fran.yaml"
    desk.ok("member", "add", "Fran", "--team", "book", "--output", str(file), "--on", "cloud")
    desk.ok("member", "add", "Cora", "--role", "coordinator", "--on", "cloud")

    def carry() -> None:
        """What Secret Manager has is what the machine is told."""
        for which in (KEYS, EDGE, "members-1"):
            shared.google.secrets[NAMES.secret(which)] = desk.newest(which)

    before = dict(shared.google.secrets)
    carry()
    try:
        person.ok("member", "accept", str(file))
        asked = ("query", "--sql", "SELECT currentUser() AS me", "--on", "cloud", "--json")
        until(lambda: person.run(*asked).returncode == 0, 2 * MINUTE)
        fran = yaml.safe_load(file.read_text())
        assert json.loads(person.ok(*asked)) == [{"me": fran["id"]}]
        ca = tmp_path_factory.mktemp("ca") / "ca.pem"
        ca.write_text(fran["certificate_authority"])
        outside = replace(shared.outside(), ca=ca)
        session = f"fran-{time.time_ns()}"
        body = made.request(made.log(session))
        login, password = fran["ingest_login"], fran["ingest_password"]
        assert outside.send(login, password, body).status == 200
        question = f"SELECT member, team FROM telemetry_events WHERE session_id = '{session}'"
        rows = ("query", "--sql", question, "--on", "cloud", "--json")
        until(lambda: json.loads(person.ok(*rows)) == [{"member": fran["id"], "team": "book"}])
        text = desk.ok("report", "access", "--on", "cloud")
        assert "fran" not in text.lower()
        desk.ok("member", "revoke", fran["id"], "--yes", "--on", "cloud")
        carry()
        until(lambda: outside.send(login, password, b"{}").status == 401, MINUTE)
        until(lambda: person.run(*asked).returncode == 1, MINUTE)
    finally:
        shared.google.secrets.update(before)
    until(shared.answers, 2 * MINUTE)


def test_a_machine_in_place_of_it_finds_data_certificates_and_members(
    shared: Endpoint, ben: Person
) -> None:
    """Its plug is pulled; the next one has the same disk and address."""
    session = f"before-{time.time_ns()}"
    body = made.request(made.log(session))
    assert shared.outside().send(ben.ingest_login, ben.ingest, body).status == 200
    root = shared.machine.shell("sha256sum /run/telemetry/config/edge/secrets/*.pem | sort")
    shared.machine.container.kill()
    with shared.running():
        until(shared.answers, 180)
        until(lambda: stored(shared, session) == 1)
        asked = f"SELECT count() FROM telemetry_events WHERE session_id = '{session}'"
        assert shared.outside().ask(ben.id, ben.query, asked).text == "1"
        again = shared.machine.shell("sha256sum /run/telemetry/config/edge/secrets/*.pem | sort")
        assert again == root
        assert not re.search("it is formatted", shared.machine.journal("telemetry-disk"))
