"""What every test with a real Docker engine needs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from . import automation, debian_root, images
from .docker_engine import Engine
from .fixtures import unavailable

Image = Callable[[str], str]
Deploy = Callable[..., automation.Deployment]


@pytest.fixture(scope="session")
def collector_image(docker_client: docker.DockerClient) -> Iterator[Image]:
    """`collector_image(name)` makes sure the engine has the collector under that name."""
    with contextlib.ExitStack() as made:
        yield lambda name: _made(made, images.collector_image, docker_client, name)


@pytest.fixture(scope="session")
def clickhouse_image(docker_client: docker.DockerClient) -> Iterator[Image]:
    """`clickhouse_image(name)` makes sure the engine has ClickHouse under that name."""
    with contextlib.ExitStack() as made:
        yield lambda name: _made(made, images.clickhouse_image, docker_client, name)


@pytest.fixture
def deploy(
    engine: Engine,
    docker_client: docker.DockerClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Deploy]:
    """`deploy(program, stack=..., config=...)` gives a Deployment; its objects go at the end."""
    # The program runs in this process, where the SDK looks for this variable.
    monkeypatch.setenv("PULUMI_ERROR_OUTPUT_STRING", "1")
    made: list[automation.Deployment] = []

    def start(program: automation.Program, **options: object) -> automation.Deployment:
        try:
            automation.pulumi_program()
        except automation.NoPulumiError as reason:
            unavailable(reason)
        folder = tmp_path / f"pulumi-{len(made)}"
        one = automation.deployment(
            program,
            folder=folder,
            docker_host=engine.host,
            **options,  # type: ignore[arg-type]
        )
        made.append(one)
        return one

    yield start
    for one in made:
        one.remove_what_is_left(docker_client)


def _made(
    stack: contextlib.ExitStack,
    make: Callable[[docker.DockerClient, str], contextlib.AbstractContextManager[str]],
    client: docker.DockerClient,
    name: str,
) -> str:
    try:
        return stack.enter_context(make(client, name))
    except (images.NoImageError, debian_root.NoRootError) as reason:
        unavailable(reason)
