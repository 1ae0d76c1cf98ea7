"""The one Docker engine of a test session: tests/conftest.py gives it to all that need it.

Only there: a fixture that two modules import is two fixtures, and the second would wait for ever
for the engine of the first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NoReturn

import docker
import pytest

from .docker_engine import Engine, NoEngineError, docker_engine


def unavailable(reason: Exception) -> NoReturn:
    """Skips with the reason; fails where TELEMETRY_TEST_ENGINE=required says it must be there."""
    if os.environ.get("TELEMETRY_TEST_ENGINE") == "required":
        pytest.fail(f"TELEMETRY_TEST_ENGINE=required, but: {reason}")
    pytest.skip(str(reason))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine, started for this session where there is none."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(docker_engine())
        except NoEngineError as reason:
            unavailable(reason)
        yield found


@pytest.fixture(scope="session")
def docker_client(engine: Engine) -> Iterator[docker.DockerClient]:
    client = engine.client()
    yield client
    client.close()
