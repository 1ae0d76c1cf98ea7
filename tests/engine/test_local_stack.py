"""The `local` stack for real: Pulumi's engine declares it, a Docker engine runs it.

The tests share one stack and follow each other as a member's days do; each leaves it running.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast

import docker
import pytest
from pulumi.automation import CommandError

from infra import services
from infra.warehouse import names
from infra.warehouse.migrations import DDL
from scripts import backup, cleanup, holdings, kept, purge, restore, status, warehouse
from stacks.home import Home
from tests import made, recorded
from tests.conftest import PORTS, free_ports, until
from tests.recorded import Recorded

from . import automation
from .conftest import Image
from .docker_engine import Engine
from .fixtures import unavailable
from .kit_program import IMAGE
from .local_stack import LocalStack, impatient, program, secrets_of

pytestmark = pytest.mark.engine

COLLECTOR = "telemetry-test/otelcol-contrib:kit"
ALL = 12
"""Stack, component, provider, network, two volumes, two images, four containers."""


@pytest.fixture(scope="module")
def stack(
    engine: Engine,
    docker_client: docker.DockerClient,
    clickhouse_image: Image,
    collector_image: Image,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalStack]:
    """The stack, up."""
    folder = tmp_path_factory.mktemp("local")
    name = f"local-{uuid.uuid4().hex[:8]}"
    home = Home(folder / "home")
    home.prepare()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELEMETRY_HOME", str(home.path))
        patch.setenv("PULUMI_ERROR_OUTPUT_STRING", "1")
        patch.delenv("DOCKER_HOST", raising=False)
        try:
            automation.pulumi_program()
        except automation.NoPulumiError as reason:
            unavailable(reason)
        deployed = automation.deployment(
            program, folder=folder / "pulumi", docker_host=engine.host, stack=name
        )
        made = LocalStack(name, home, docker_client, deployed)
        made.configure(
            ports=dict(zip(PORTS, free_ports(len(PORTS)), strict=True)),
            images={"clickhouse": clickhouse_image(IMAGE), "collector": collector_image(COLLECTOR)},
            docker={"host": engine.host},
            # Disk caches of a test machine are slow, and no power is cut here.
            queue={"fsync": False},
        )
        assert deployed.preview() == {"create": ALL}
        assert not docker_client.containers.list(all=True, filters={"name": f"telemetry-{name}"})
        try:
            assert deployed.up() == {"create": ALL}
            yield made
        finally:
            deployed.remove_what_is_left(docker_client)


@pytest.fixture(scope="module")
def sent(stack: LocalStack) -> list[Recorded]:
    """Every recorded request of every client version, sent through the published port."""
    found = recorded.shifted(
        [each for each in recorded.requests() if each.signal in ("logs", "metrics")]
    )
    for request in found:
        assert stack.post(request.signal, request.body) == 200
    total = sum(1 for request in found for _ in recorded.events(request))
    points = sum(1 for request in found for _ in recorded.points(request))
    until(lambda: stack.asked("SELECT count() FROM telemetry_events") == [(total,)], 60)
    until(lambda: stack.asked("SELECT count() FROM metric_points") == [(points,)], 60)
    return found


def test_a_passing_up_means_that_the_schema_is_current_and_the_collector_answers(
    stack: LocalStack,
) -> None:
    applied = stack.as_admin().query("SELECT name FROM telemetry.schema_migrations ORDER BY name")
    assert [name for (name,) in applied.result_rows] == sorted(
        path.name for path in DDL.glob("*.sql")
    )
    assert stack.healthy()
    assert stack.container("schema").attrs["State"]["Health"]["Status"] == "healthy"


def test_the_outputs_are_where_it_answers_and_hide_the_credentials(stack: LocalStack) -> None:
    outputs = stack.deployed.stack.outputs()
    port = stack.settings.ports
    assert outputs["otlpHttp"].value == f"http://127.0.0.1:{port.otlp_http}"
    assert warehouse.answers(f"{outputs['clickhouse'].value}/ping")
    assert outputs["next"].value == "telemetry verify"
    secrets = stack.home.secrets()
    assert {name for name, output in outputs.items() if output.secret} == {"member", "netrc"}
    assert outputs["netrc"].value.split()[2:] == [
        *("login", secrets.member),
        *("password", secrets.member_password),
    ]


def test_what_claude_code_sent_is_what_the_member_reads(
    stack: LocalStack, sent: list[Recorded]
) -> None:
    events = [each for request in sent for each in recorded.events(request)]
    expected = Counter(
        (resource["service.version"], attributes["event.name"], attributes.get("session.id", ""))
        for attributes, resource, _ in events
    )
    read = stack.asked(
        "SELECT client_version, event, session_id, count() FROM telemetry_events GROUP BY ALL"
    )
    assert {(row[0], row[1], row[2]): row[3] for row in read} == expected
    assert len({version for version, _, _ in expected}) == len(recorded.versions())
    paid = sum(
        (
            Decimal(attributes["cost_usd_micros"]) / 1_000_000
            if "cost_usd_micros" in attributes
            else round(Decimal(str(attributes["cost_usd"])), 9)
        )
        for attributes, _, _ in events
        if attributes["event.name"] == "api_request"
    )
    tokens = sum(int(attributes.get("output_tokens", 0)) for attributes, _, _ in events)
    assert paid > 0
    assert stack.asked(
        "SELECT toDecimal64(sum(cost_usd), 9), sum(output_tokens), uniqExact(member) "
        "FROM telemetry_events"
    ) == [(paid, tokens, 1)]


def test_sending_again_adds_nothing(stack: LocalStack, sent: list[Recorded]) -> None:
    before = stack.asked("SELECT count() FROM telemetry_events")
    one = next(request for request in sent if request.signal == "logs")
    assert stack.post("logs", one.body) == 200
    landed = "SELECT sum(rows) FROM system.parts WHERE active AND table = 'telemetry_events'"
    stored = stack.as_admin().query(landed).result_rows[0][0]
    until(lambda: stack.as_admin().query(landed).result_rows[0][0] >= stored)
    assert stack.asked("SELECT count() FROM telemetry_events") == before


def test_a_second_up_changes_nothing(stack: LocalStack) -> None:
    before = stack.ids()
    assert stack.deployed.preview() == {"same": ALL}
    assert stack.deployed.preview() == {"same": ALL}
    assert stack.deployed.up() == {"same": ALL}
    assert stack.deployed.up(refresh=True) == {"same": ALL}
    assert stack.ids() == before


def test_containers_run_with_the_least_rights(stack: LocalStack) -> None:
    for service in ("clickhouse", "collector", "schema"):
        found = stack.container(service).attrs
        process = stack.container(service).top()["Processes"][0]
        assert process[0] not in ("root", "0"), f"{service} runs as root"
        host = found["HostConfig"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert host["Memory"] == host["MemorySwap"] > 0
        assert host["LogConfig"] == {
            "Type": "json-file",
            "Config": {"max-file": "3", "max-size": "10m"},
        }
        bound = [
            port for ports in found["NetworkSettings"]["Ports"].values() for port in ports or []
        ]
        assert {each["HostIp"] for each in bound} <= {"127.0.0.1"}


def test_no_secret_is_in_the_state_the_log_or_docker_inspect(stack: LocalStack) -> None:
    state = stack.deployed.state_text()
    shown = json.dumps([stack.container(service).attrs for service in stack.ids()])
    said = "".join(stack.deployed.log)
    found = list(secrets_of(stack.home))
    assert len(found) == 4
    for secret in found:
        assert secret not in state
        assert secret not in shown
        assert secret not in said
    stored = stack.container("collector").get_archive("/etc/otelcol-contrib/secrets/pseudonym-key")
    assert stack.home.secrets().pseudonym_key.encode() in b"".join(stored[0]), (
        "the secret must reach the container that needs it"
    )


def test_a_changed_memory_limit_is_in_place(stack: LocalStack, sent: list[Recorded]) -> None:
    ids, volumes = stack.ids(), stack.volumes()
    stack.change(limits={"clickhouseMemoryMib": 1280})
    assert stack.deployed.up() == {"same": ALL - 1, "update": 1}
    assert stack.ids() == ids
    assert stack.volumes() == volumes
    host = stack.container("clickhouse").attrs["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 1280 * 1024 * 1024
    assert stack.deployed.up() == {"same": ALL}
    assert stack.asked("SELECT count() > 0 FROM telemetry_events") == [(bool(sent),)]


def test_a_changed_retention_touches_the_schema_only(stack: LocalStack) -> None:
    ids, volumes = stack.ids(), stack.volumes()
    stack.change(retention={"eventsDays": 400})
    assert stack.deployed.preview() == {"same": ALL - 1, "replace": 1}
    assert stack.deployed.up() == {"same": ALL - 1, "replace": 1}
    assert {name for name, each in stack.ids().items() if ids[name] != each} == {"schema"}
    assert stack.volumes() == volumes
    [(created,)] = (
        stack.as_admin()
        .query("SELECT create_table_query FROM system.tables WHERE name = 'telemetry_events'")
        .result_rows
    )
    assert "toIntervalDay(400)" in created


def test_a_changed_collector_is_proved_anew_and_loses_nothing(
    stack: LocalStack, sent: list[Recorded]
) -> None:
    ids, volumes = stack.ids(), stack.volumes()
    before = stack.asked("SELECT count() FROM telemetry_events")
    stack.change(limits={"clickhouseMemoryMib": 1280, "collectorMemoryMib": 320})
    stack.deployed.up()
    changed = {name for name, each in stack.ids().items() if ids[name] != each}
    assert changed == {"collector", "schema"}
    assert stack.volumes() == volumes
    assert stack.healthy()
    assert stack.asked("SELECT count() FROM telemetry_events") == before
    assert sent


@pytest.mark.parametrize("service", ["clickhouse", "collector"])
def test_a_killed_program_comes_back_by_itself(stack: LocalStack, service: str) -> None:
    container = stack.container(service)
    pid = container.attrs["State"]["Pid"]
    if not Path(f"/proc/{pid}").exists() or os.geteuid() != 0:
        pytest.skip("the engine's processes are not this machine's, or not ours to kill")
    os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        container.reload()
        state = container.attrs["State"]
        return bool(state["Running"] and state["Pid"] not in (0, pid))

    until(back, 60)
    address = "/ping" if service == "clickhouse" else "/"
    ports = stack.settings.ports
    port = ports.clickhouse_http if service == "clickhouse" else ports.health
    assert warehouse.wait(f"http://127.0.0.1:{port}{address}", 60)


def test_what_was_accepted_while_clickhouse_was_away_is_stored_later(stack: LocalStack) -> None:
    """Both programs are stopped in between: what was acknowledged is on the queue's volume."""
    one = next(request for request in recorded.requests("logs", "2.1.330"))
    session = f"otter-{uuid.uuid4()}"
    text = json.dumps(recorded.shifted([one])[0].body)
    first = next(recorded.events(one))[0]["session.id"]
    body = json.loads(text.replace(first, session))
    sent = sum(1 for _ in recorded.events(Recorded("", "", "logs", body)))
    stack.container("clickhouse").stop(timeout=30)
    assert stack.post("logs", body) == 200
    stack.container("collector").kill()
    stack.container("clickhouse").start()
    stack.container("collector").start()
    ports = stack.settings.ports
    assert warehouse.wait(f"http://127.0.0.1:{ports.clickhouse_http}/ping", 60)
    count = f"SELECT count() FROM telemetry_events WHERE session_id = '{session}'"
    until(lambda: stack.asked(count) == [(sent,)], 60)


def test_a_backup_of_the_containers_comes_back(
    stack: LocalStack, sent: list[Recorded], tmp_path: Path
) -> None:
    client = stack.as_admin()
    tables = (names.EVENTS, names.METRIC_POINTS)

    def rows() -> list[object]:
        hashes = "count(), sum(sipHash64(formatRow('RowBinary', *)))"
        return [client.query(f"SELECT {hashes} FROM telemetry.{t}").result_rows for t in tables]

    before = rows()
    made = backup.backup(stack.settings, stack.home, str(tmp_path), encrypt=True)
    assert made.rows > len(sent)
    for table in tables:
        client.command(f"TRUNCATE TABLE telemetry.{table}")
    with restore.planned(stack.settings, stack.home, str(tmp_path), None, None) as plan:
        restored = restore.restore(plan)
    assert restored.restored_rows > len(sent)
    assert rows() == before


@pytest.mark.skipif(shutil.which("docker") is None, reason="the docker command is not here")
def test_a_purge_and_a_cleanup_reach_what_is_in_the_volume(
    stack: LocalStack,
) -> None:
    session, other = f"badger-{uuid.uuid4()}", f"heron-{uuid.uuid4()}"
    odd = {"event.name": "no name at all"}
    for each in (session, other):
        records = (made.log(each), made.log(each, attributes=odd))
        assert stack.post("logs", json.loads(made.request(*records))) == 200
    [volume] = [each for each in kept.places(stack.settings, stack.home) if stack.name in str(each)]
    volume_ = cast(kept.Volume, volume)
    until(lambda: sum(len(list(volume.lines(each))) for each in volume.files()) >= 2, 30)
    volume_._run('echo "$1" > /kept/queue/exporter_clickhouse_.backup1', session)
    found = status.status(stack.settings, stack.home)
    assert found.set_aside_records == 2
    assert found.memory_bytes.keys() == found.memory_limit_bytes.keys()
    for name, taken in found.memory_bytes.items():
        assert 20 * 1024**2 < taken < found.memory_limit_bytes[name]
    [damaged] = found.set_aside_queue_files
    assert any(damaged in each for each in found.problems)
    assert [what for _, _, what in holdings.holdings(stack.settings, stack.home).files] >= [
        "damaged queue file",
        "records set aside, sanitized",
    ]

    # This stack syncs nothing (see above), so parts would stay for a minute.
    tables = (*names.OWN_EVENTS, names.SESSION_LABELS, names.DAILY_METRICS_KEPT)
    for table in (*tables, names.PURGE_REQUESTS):
        stack.as_admin().command(
            f"ALTER TABLE telemetry.{table} MODIFY SETTING old_parts_lifetime = 1"
        )
    target = purge.Target("session", session)
    done = purge.purge(stack.settings, stack.home, target, agreed=lambda _: True)
    assert isinstance(done, purge.Purged)
    [place] = [each for each in done.places if "aside" in each.where]
    assert (place.before, place.after) == (1, 0)
    assert stack.healthy()
    everything = volume_._run("cat /kept/aside/* /kept/queue/*")
    assert session.encode() not in everything
    assert other.encode() in everything, "what is not the target's stays"
    assert not [each for each in volume.files() if each.damaged]
    count = f"SELECT count() FROM telemetry_events WHERE session_id = '{session}'"
    assert stack.asked(count) == [(0,)]
    assert status.status(stack.settings, stack.home).set_aside_records == 1

    # What comes afterwards is set aside as before, in the same file.
    assert stack.post("logs", json.loads(made.request(made.log(other, attributes=odd)))) == 200
    until(lambda: status.status(stack.settings, stack.home).set_aside_records == 2, 30)
    client = stack.as_admin()
    cleaner = cleanup.Cleaner(stack.settings, stack.home, client, [volume])
    cleaner.close_aside()
    assert [each.is_open for each in volume.files()][:1] == [False]
    assert stack.healthy()
    assert cleaner.due() == ()
    cleaner.today += timedelta(days=400)
    [due] = [each for each in cleaner.due() if each.rows is None]
    cleaner.delete([due])
    assert not [each for each in volume.files() if not each.is_open]


def test_a_container_stopped_by_hand_is_started_by_an_up_that_looks(stack: LocalStack) -> None:
    stack.container("collector").stop(timeout=10)
    assert stack.deployed.up() == {"same": ALL}, "a plain up does not look at the engine"
    stack.deployed.up(refresh=True)
    assert until(stack.healthy)


def test_an_up_while_the_member_has_paused_collection_is_refused(stack: LocalStack) -> None:
    ids = stack.ids()
    stack.home.paused.write_text("now\n")
    try:
        with pytest.raises(CommandError, match="telemetry resume"):
            stack.deployed.up()
    finally:
        stack.home.paused.unlink()
    assert stack.ids() == ids


def test_a_bad_setting_is_refused_before_anything_is_touched(stack: LocalStack) -> None:
    ids = stack.ids()
    stack.change(retention={"eventsDays": 0})
    try:
        with pytest.raises(CommandError, match=r"retention\.eventsDays is 0"):
            stack.deployed.up()
    finally:
        stack.change(retention={"eventsDays": 400})
    assert stack.ids() == ids


def test_an_up_fails_when_the_collector_cannot_start(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = stack.settings.images
    described = services._schema
    monkeypatch.setattr(services, "_schema", lambda *given: impatient(described(*given), 25))
    # This image ends at once with the collector's arguments.
    stack.change(images={"clickhouse": images.clickhouse, "collector": images.clickhouse})
    try:
        with pytest.raises(CommandError, match="healthy"):
            stack.deployed.up()
    finally:
        stack.change(images=images.model_dump(by_alias=True))
        stack.deployed.up()
    assert stack.healthy()
    assert stack.deployed.up() == {"same": ALL}


def test_destroy_keeps_the_protected_volumes_and_says_so(
    stack: LocalStack, sent: list[Recorded]
) -> None:
    before = stack.asked("SELECT count() FROM telemetry_events")
    volumes = stack.volumes()
    assert len(volumes) == 2
    with pytest.raises(CommandError, match="protected") as refused:
        stack.deployed.destroy()
    assert "clickhouse-data" in str(refused.value)
    said: list[str] = []
    stack.deployed.stack.destroy(on_output=said.append, exclude_protected=True)
    assert "protected" in "".join(said)
    assert not stack.client.containers.list(all=True, filters={"name": f"telemetry-{stack.name}"})
    assert stack.volumes() == volumes
    stack.deployed.up()
    assert stack.asked("SELECT count() FROM telemetry_events") == before
    assert sent
