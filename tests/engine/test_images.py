"""The locally made images keep the promises of the official ones that the stacks rely on."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from .conftest import Image
from .kit_program import IMAGE as CLICKHOUSE

pytestmark = pytest.mark.engine

COLLECTOR = "telemetry-test/opentelemetry-collector-contrib:kit"
PASSWORD = "correct horse"
USERS = f"""<clickhouse><users>
  <default remove="remove"/>
  <probe>
    <password>{PASSWORD}</password><networks><ip>::/0</ip></networks>
    <profile>default</profile><quota>default</quota>
    <grants><query>GRANT ALL ON kit.*</query><query>GRANT TABLE ENGINE ON *</query></grants>
  </probe>
</users></clickhouse>"""
START_SECONDS = 20.0

Run = Callable[..., Any]


@pytest.fixture
def run(docker_client: docker.DockerClient, volume: str) -> Iterator[Run]:  # noqa: ARG001
    """`run(image, files={path: text}, **options)` starts a container; all are removed at the end,
    before the volume, which some of them use."""
    made = []

    def start(image: str, files: dict[str, str] | None = None, **options: Any) -> Any:
        container = docker_client.containers.create(image, **options)
        made.append(container)
        for path, text in (files or {}).items():
            container.put_archive("/", _archive(path, text))
        container.start()
        return container

    yield start
    for container in made:
        container.remove(force=True, v=True)


@pytest.fixture
def volume(docker_client: docker.DockerClient) -> Iterator[str]:
    made = docker_client.volumes.create(f"telemetry-kit-{uuid.uuid4().hex[:8]}")
    yield str(made.name)
    made.remove(force=True)


def clickhouse(run: Run, image: str, volume: str, **options: Any) -> Any:
    return run(
        image,
        files={"etc/clickhouse-server/users.d/telemetry.xml": USERS},
        user="101:101",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        ports={"8123/tcp": ("127.0.0.1", None)},
        volumes={volume: {"bind": "/var/lib/clickhouse"}},
        **options,
    )


def address(container: Any) -> str:
    container.reload()
    port = container.ports["8123/tcp"][0]["HostPort"]
    return f"http://127.0.0.1:{port}"


def wait_for_ping(container: Any) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{address(container)}/ping", timeout=2) as answer:
                assert answer.read() == b"Ok.\n"
                return
        except (OSError, KeyError):
            time.sleep(0.1)
    pytest.fail(f"no answer on /ping: {container.logs().decode()}")


def ask(container: Any, sql: str, user: str = "probe", password: str = PASSWORD) -> str:
    secret = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(
        address(container), data=sql.encode(), headers={"Authorization": f"Basic {secret}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode().strip())


@pytest.fixture
def clickhouse_name(clickhouse_image: Image) -> str:
    return clickhouse_image(CLICKHOUSE)


def test_clickhouse_keeps_its_rows_over_a_restart_and_a_new_container(
    run: Run, clickhouse_name: str, volume: str
) -> None:
    first = clickhouse(run, clickhouse_name, volume)
    wait_for_ping(first)
    ask(first, "CREATE DATABASE kit")
    ask(first, "CREATE TABLE kit.rows (n UInt32) ENGINE = MergeTree ORDER BY n")
    ask(first, "INSERT INTO kit.rows VALUES (41), (42)")
    first.restart(timeout=20)
    wait_for_ping(first)
    assert ask(first, "SELECT sum(n) FROM kit.rows") == "83"
    first.stop(timeout=20)
    assert first.wait()["StatusCode"] == 0, "SIGTERM must be a clean stop"
    second = clickhouse(run, clickhouse_name, volume)
    wait_for_ping(second)
    assert ask(second, "SELECT sum(n) FROM kit.rows") == "83"


@pytest.mark.parametrize(
    ("user", "password"), [("probe", "wrong"), ("nobody", ""), ("default", "")]
)
def test_clickhouse_refuses_who_has_no_password_for_it(
    run: Run, clickhouse_name: str, volume: str, user: str, password: str
) -> None:
    container = clickhouse(run, clickhouse_name, volume)
    wait_for_ping(container)
    with pytest.raises(urllib.error.HTTPError) as error:
        ask(container, "SELECT 1", user, password)
    assert error.value.code in (401, 403)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("users.d", "<users>"),
        ("config.d", "<max_server_memory_usage>much</max_server_memory_usage>"),
        ("users.d", "<users><x><profile>default</profile></x></users>"),
    ],
    ids=["not XML", "a setting of the wrong type", "a user without authentication"],
)
def test_clickhouse_does_not_run_with_a_configuration_it_cannot_read(
    run: Run, clickhouse_name: str, path: str, text: str
) -> None:
    file = f"etc/clickhouse-server/{path}/bad.xml"
    container = run(clickhouse_name, files={file: f"<clickhouse>{text}</clickhouse>"})
    assert container.wait(timeout=30)["StatusCode"] != 0
    assert container.logs(), "the reason must be in the log"


def test_clickhouse_started_as_root_does_not_stay_root(run: Run, clickhouse_name: str) -> None:
    container = run(clickhouse_name, ports={"8123/tcp": ("127.0.0.1", None)})
    wait_for_ping(container)
    status = container.exec_run(["grep", "^Uid:", "/proc/1/status"]).output.decode()
    assert status.split()[1:] == ["101"] * 4


def test_the_clickhouse_image_has_what_the_schema_runner_needs(
    run: Run, clickhouse_name: str
) -> None:
    script = (
        "wget --version | head -n 1; printf x | sha256sum; echo a b | awk '{print $2}' | sed s/b/c/"
    )
    container = run(clickhouse_name, entrypoint=["/bin/sh", "-ec"], command=[script])
    assert container.wait(timeout=30)["StatusCode"] == 0
    lines = container.logs().decode().splitlines()
    assert lines[0].startswith("GNU Wget 1.")
    # SHA-256 of the one letter x.
    assert lines[1].startswith("2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
    assert lines[2] == "c"


def test_the_collector_image_is_the_binary_and_nothing_else(
    run: Run, docker_client: docker.DockerClient, collector_image: Image
) -> None:
    name = collector_image(COLLECTOR)
    container = run(name, command=["--version"])
    assert container.wait(timeout=30)["StatusCode"] == 0
    assert "version" in container.logs().decode()
    config = docker_client.images.get(name).attrs["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/otelcol-contrib"]
    assert config["Cmd"] == ["--config", "/etc/otelcol-contrib/config.yaml"]
    with pytest.raises(docker.errors.APIError, match="sh"):
        run(name, entrypoint=["/bin/sh"])


def _archive(path: str, text: str) -> bytes:

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        entry = tarfile.TarInfo(path)
        entry.size = len(text.encode())
        tar.addfile(entry, io.BytesIO(text.encode()))
    return content.getvalue()


def test_the_collector_starts_with_its_default_command(run: Run, collector_image: Image) -> None:
    config = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": "0.0.0.0:4318"}}}},
        "exporters": {"file": {"path": "/dev/null"}},
        "service": {"pipelines": {"logs": {"receivers": ["otlp"], "exporters": ["file"]}}},
    }
    container = run(
        collector_image(COLLECTOR),
        files={"etc/otelcol-contrib/config.yaml": json.dumps(config)},
        ports={"4318/tcp": ("127.0.0.1", None)},
    )
    until = time.monotonic() + START_SECONDS
    while b"Everything is ready" not in container.logs():
        assert time.monotonic() < until, container.logs().decode()
        time.sleep(0.1)
