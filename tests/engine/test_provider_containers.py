"""The Docker double on a real engine, without Pulumi's: what a container does as declared.

Each claim is something that surprises users of the real plugin; a double that were kinder would
hide it from the tests of the stacks.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from .conftest import Image
from .kit_program import DATA, HEALTHY, IMAGE, PAGE, SERVE
from .provider_docker.container import Container
from .provider_docker.schema import Values
from .provider_docker.simple import HalfMadeError, RefusedError
from .provider_docker.values import differences

pytestmark = pytest.mark.engine

SLOW_END = f"trap 'sleep 1; echo clean > {DATA}/end; exit 0' TERM; while :; do sleep 0.1; done"

Create = Callable[..., tuple[str, Values]]


@pytest.fixture
def declared(clickhouse_image: Image) -> Values:
    """The arguments of a container that serves a page, as they come over the wire."""
    return {
        "name": f"telemetry-kit-{uuid.uuid4().hex[:8]}",
        "image": clickhouse_image(IMAGE),
        "entrypoints": ["/bin/sh", "-ec"],
        "command": [SERVE],
        "user": "101:101",
        "memory": 64.0,
        "memorySwap": 64.0,
        "mounts": [{"type": "tmpfs", "target": DATA}],
        "uploads": [{"file": PAGE, "content": "page"}],
    }


@pytest.fixture
def create(docker_client: docker.DockerClient, declared: Values) -> Iterator[Create]:
    """`create(**changes)` makes the declared container; it is removed at the end."""

    def make(**changes: Any) -> tuple[str, Values]:
        return Container().create(docker_client, {**declared, **changes})

    yield make
    for container in docker_client.containers.list(all=True, filters={"name": declared["name"]}):
        container.remove(force=True, v=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"readOnly": True}, "read-only"),
        ({"uploads": [{"file": PAGE, "content": ""}]}, "not empty"),
        ({"uploads": [{"file": PAGE, "content": "a", "contentBase64": "YQ=="}]}, "exactly one"),
        ({"wait": True}, "no healthcheck"),
        ({"mounts": [{"type": "bind", "source": "/no/such", "target": DATA}]}, "/no/such"),
        ({"image": "telemetry-test/absent:1"}, "telemetry-test/absent:1"),
        ({"command": [""]}, "may not be empty"),
    ],
)
def test_what_the_plugin_refuses_is_refused_with_its_reason(
    create: Create, arguments: Values, said: str
) -> None:
    with pytest.raises(RefusedError) as error:
        create(**arguments)
    assert said in str(error.value)


def test_a_container_that_is_not_healthy_in_time_fails_and_stays_in_the_state(
    create: Create, docker_client: docker.DockerClient
) -> None:
    never = {"tests": ["CMD", "false"], "interval": "1s"}
    with pytest.raises(HalfMadeError, match="healthy") as error:
        create(healthcheck=never, wait=True, waitTimeout=2)
    assert docker_client.containers.get(error.value.identity)


def test_wait_returns_when_the_container_is_healthy(
    create: Create, docker_client: docker.DockerClient
) -> None:
    identity, _ = create(healthcheck={"tests": HEALTHY, "interval": "1s"}, wait=True)
    assert docker_client.containers.get(identity).attrs["State"]["Health"]["Status"] == "healthy"


def test_uploaded_files_are_roots_and_readable_unless_told_otherwise(
    create: Create, docker_client: docker.DockerClient
) -> None:
    files: list[Values] = [
        {"file": PAGE, "content": "a"},
        {"file": "/srv/closed", "content": "b", "permissions": "0400"},
        {"file": "/srv/run", "content": "c", "executable": True},
    ]
    identity, _ = create(uploads=files)
    command = ["stat", "-c", "%u:%g %a", *(file["file"] for file in files)]
    output = docker_client.containers.get(identity).exec_run(command).output
    assert isinstance(output, bytes)
    assert output.decode().splitlines() == ["0:0 644", "0:0 400", "0:0 744"]


def test_memory_without_memory_swap_differs_at_every_up(create: Create, declared: Values) -> None:
    _, state = create(memorySwap=None)
    assert differences(Container.fields, state, {**declared, "memorySwap": None}) == {
        "memorySwap": False
    }


def test_a_number_of_cpus_without_decimals_replaces_at_every_up(
    create: Create, declared: Values
) -> None:
    _, state = create(cpus="1")
    assert differences(Container.fields, state, {**declared, "cpus": "1"}) == {"cpus": True}
    assert differences(Container.fields, state, {**declared, "cpus": "1.0"}) == {}


def test_memory_changes_in_place(
    create: Create, declared: Values, docker_client: docker.DockerClient
) -> None:
    identity, state = create()
    Container().update(
        docker_client, identity, state, {**declared, "memory": 96.0, "memorySwap": 96.0}
    )
    assert docker_client.containers.get(identity).attrs["HostConfig"]["Memory"] == 96 * 1024**2


def test_a_changed_health_check_is_reported_and_does_nothing(
    create: Create, declared: Values, docker_client: docker.DockerClient
) -> None:
    before = {**declared, "healthcheck": {"tests": HEALTHY, "interval": "1s"}}
    after = {**declared, "healthcheck": {"tests": HEALTHY, "interval": "5s"}}
    identity, state = create(**before)
    assert differences(Container.fields, state, after) == {"healthcheck": False}
    state = Container().update(docker_client, identity, state, after)
    found = docker_client.containers.get(identity).attrs["Config"]["Healthcheck"]
    assert found["Interval"] == 1_000_000_000
    assert differences(Container.fields, state, after) == {}


@pytest.mark.parametrize(("grace", "end"), [(10.0, "clean\n"), (None, "")])
def test_a_container_is_killed_at_once_unless_it_is_given_time(
    create: Create, docker_client: docker.DockerClient, grace: float | None, end: str
) -> None:
    volume = docker_client.volumes.create(f"telemetry-kit-{uuid.uuid4().hex[:8]}")
    mounts = [{"type": "volume", "source": volume.name, "target": DATA}]
    try:
        identity, state = create(
            command=[SLOW_END], mounts=mounts, stopTimeout=10.0, destroyGraceSeconds=grace
        )
        time.sleep(0.5)  # until the shell has set its trap
        Container().delete(docker_client, identity, state)
        look = ["test ! -e $0 || cat $0", f"{DATA}/end"]
        _, found = create(command=look, mounts=mounts, attach=True, logs=True, mustRun=False)
        assert found["containerLogs"] == end
        Container().delete(docker_client, found["name"], found)
    finally:
        volume.remove()


def test_a_job_gives_its_log_and_exit_code_and_does_not_fail(
    create: Create, declared: Values
) -> None:
    job: Values = {"command": ["echo done; exit 3"], "attach": True, "logs": True, "mustRun": False}
    _, state = create(**job)
    assert (state["containerLogs"], state["exitCode"]) == ("done\n", 3)
    assert differences(Container.fields, state, {**declared, **job}) == {}


def test_a_container_stopped_by_hand_is_seen_by_a_refresh_and_started_again(
    create: Create, declared: Values, docker_client: docker.DockerClient
) -> None:
    identity, state = create()
    docker_client.containers.get(identity).kill()
    seen = Container().read(docker_client, identity, state)
    assert seen is not None
    assert differences(Container.fields, seen, declared) == {"mustRun": False}
    Container().update(docker_client, identity, seen, declared)
    assert docker_client.containers.get(identity).status == "running"
    docker_client.containers.get(identity).remove(force=True)
    assert Container().read(docker_client, identity, state) is None
