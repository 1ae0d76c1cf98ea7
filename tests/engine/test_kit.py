"""The kit itself: the real Pulumi engine makes real containers, and refuses what it should.

The double must never be kinder than the plugin, or a stack that passes here fails for a user.
"""

from __future__ import annotations

import urllib.request
import uuid
from typing import Any

import docker
import pulumi
import pulumi_docker
import pytest
from pulumi.automation import CommandError

from .conftest import Deploy, Image
from .kit_program import IMAGE, PAGE, Page

pytestmark = pytest.mark.engine


@pytest.fixture
def page(clickhouse_image: Image) -> Page:
    return Page(image=clickhouse_image(IMAGE), run=uuid.uuid4().hex[:8])


def container_of(client: docker.DockerClient, page: Page) -> Any:
    return client.containers.get(page.name)


def served(client: docker.DockerClient, page: Page) -> str:
    """The page as it comes through the published port."""
    binding = container_of(client, page).ports["8080/tcp"][0]
    assert binding["HostIp"] == "127.0.0.1"
    with urllib.request.urlopen(f"http://127.0.0.1:{binding['HostPort']}/page.txt") as answer:
        return str(answer.read().decode())


def test_what_is_declared_runs_and_a_second_up_changes_nothing(
    deploy: Deploy, page: Page, docker_client: docker.DockerClient
) -> None:
    deployed = deploy(page.program())
    assert deployed.preview() == {"create": 5}
    assert not docker_client.containers.list(all=True, filters={"name": page.name})
    assert deployed.up() == {"create": 5}
    assert served(docker_client, page) == "first"
    assert deployed.preview() == {"same": 5}
    assert deployed.up() == {"same": 5}
    assert deployed.up(refresh=True) == {"same": 5}
    assert deployed.destroy() == {"delete": 5}
    assert not docker_client.volumes.list(filters={"name": page.name})


def test_a_memory_limit_changes_in_place_and_an_environment_replaces(
    deploy: Deploy, page: Page, docker_client: docker.DockerClient
) -> None:
    deployed = deploy(page.program())
    deployed.up()
    first = container_of(docker_client, page)
    assert deployed.run(page.but(memory=96).program()).up() == {"same": 4, "update": 1}
    second = container_of(docker_client, page)
    assert second.id == first.id
    assert second.attrs["HostConfig"]["Memory"] == 96 * 1024 * 1024
    changed = page.but(memory=96, env="A=2")
    assert deployed.run(changed.program()).up() == {"same": 4, "replace": 1}
    third = container_of(docker_client, page)
    assert third.id != second.id
    assert "A=2" in third.attrs["Config"]["Env"]
    assert deployed.run(changed.but(text="second").program()).up() == {"same": 4, "replace": 1}
    assert served(docker_client, page) == "second"


def test_a_protected_volume_survives_destroy_which_says_so(
    deploy: Deploy, page: Page, docker_client: docker.DockerClient
) -> None:
    protected = page.but(protect=True)
    deployed = deploy(protected.program())
    deployed.up()
    with pytest.raises(CommandError, match="protected") as error:
        deployed.destroy()
    assert "data" in str(error.value), "the message must name what is protected"
    assert docker_client.volumes.get(page.name)


def test_a_relabelled_volume_is_deleted_and_made_again_unless_it_is_protected(
    deploy: Deploy, page: Page, docker_client: docker.DockerClient
) -> None:
    def program(label: str, protect: bool) -> Any:
        return lambda: pulumi_docker.Volume(
            "data",
            name=page.name,
            labels=[{"label": "purpose", "value": label}],
            opts=pulumi.ResourceOptions(protect=protect),
        )

    deployed = deploy(program("one", protect=True))
    deployed.up()
    with pytest.raises(CommandError, match="protect"):
        deployed.run(program("two", protect=True)).up()
    assert docker_client.volumes.get(page.name).attrs["Labels"] == {"purpose": "one"}
    deployed.run(program("one", protect=False)).up()
    assert deployed.run(program("two", protect=False)).up() == {"same": 1, "replace": 1}
    assert docker_client.volumes.get(page.name).attrs["Labels"] == {"purpose": "two"}


def test_a_secret_is_neither_in_the_state_nor_in_what_the_engine_shows(
    deploy: Deploy, page: Page, docker_client: docker.DockerClient
) -> None:
    secret = page.but(text="velvet otter")
    deployed = deploy(secret.program())
    deployed.up()
    assert served(docker_client, page) == "velvet otter", "the secret must reach the container"
    assert PAGE not in deployed.state_text(), "one secret hides the whole list of uploads"
    assert "velvet otter" not in deployed.state_text()
    assert "velvet otter" not in str(container_of(docker_client, page).attrs)
    assert "velvet otter" not in "".join(deployed.log)


def test_an_argument_that_the_plugin_does_not_know_is_refused_by_its_name(
    deploy: Deploy, page: Page
) -> None:
    deployed = deploy(page.program(device_cgroup_rules=["c 1:3 r"]))
    with pytest.raises(CommandError, match="deviceCgroupRules"):
        deployed.preview()


def test_a_container_that_was_not_healthy_in_time_is_replaced_by_the_next_up(
    deploy: Deploy, page: Page, docker_client: docker.DockerClient
) -> None:
    never = {"tests": ["CMD", "test", "-e", "/tmp/ok"], "interval": "1s"}
    deployed = deploy(page.program(healthcheck=never, wait_timeout=2))
    with pytest.raises(CommandError, match="healthy"):
        deployed.up()
    failed = container_of(docker_client, page)
    assert deployed.run(page.program()).up()["replace"] == 1
    assert container_of(docker_client, page).id != failed.id
    assert deployed.up() == {"same": 5}


def test_a_stopped_container_runs_again_after_an_up_with_refresh(
    deploy: Deploy, page: Page, docker_client: docker.DockerClient
) -> None:
    deployed = deploy(page.program())
    deployed.up()
    container_of(docker_client, page).stop(timeout=1)
    assert deployed.up() == {"same": 5}, "a plain up does not look at the engine"
    deployed.up(refresh=True)
    assert served(docker_client, page) == "first"


def test_a_preview_fails_without_an_engine(deploy: Deploy, page: Page) -> None:
    nowhere = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    deployed = deploy(page.program(), environment=nowhere)
    with pytest.raises(CommandError, match="Cannot connect to the Docker daemon"):
        deployed.preview()
