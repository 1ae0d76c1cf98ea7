"""Fixtures of the mock tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.local import engine

from .registry import Registry, deployed


@pytest.fixture(autouse=True, scope="session")
def _docker() -> Iterator[None]:
    """Whatever engine this machine has: these tests are about Docker unless they say otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DOCKER_HOST", raising=False)
        patch.setattr(engine, "_USUAL", Path("/var/run/docker.sock.of-a-test"))
        yield


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Everything that the `local` stack declares with the default settings."""
    return deployed(tmp_path_factory.mktemp("stack") / "home")
