"""`pulumi up -s local` itself, where the ordinary Pulumi, its plugins and Docker are at hand."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stacks.home import PROJECT
from tests.conftest import PORTS, TELEMETRY, free_ports

pytestmark = pytest.mark.engine

STACK = "local-test"
WHAT_IT_NEEDS = ("pulumi", "pulumi-language-python", "docker")


def missing() -> str:
    """Why it cannot run here; empty when it can."""
    lacking = [name for name in WHAT_IT_NEEDS if shutil.which(name) is None]
    if lacking:
        return f"this machine lacks {', '.join(lacking)}"
    engine = subprocess.run(["docker", "info"], capture_output=True)
    if engine.returncode != 0:
        return "no container engine answers"
    plugin = subprocess.run(["pulumi", "plugin", "ls"], capture_output=True, text=True).stdout
    return "" if "docker " in plugin else "Pulumi's docker plugin is not installed"


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A member's environment; the stack is taken away afterwards, volumes included."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    home = tmp_path / "state"
    home.mkdir(mode=0o700)
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    (home / "settings.yaml").write_text(yaml.safe_dump({"ports": ports}))
    backend = tmp_path / "backend"
    backend.mkdir()
    found = {
        **os.environ,
        "TELEMETRY_HOME": str(home),
        "PULUMI_BACKEND_URL": f"file://{backend}",
        "PULUMI_CONFIG_PASSPHRASE": "a passphrase for a test",
        "PULUMI_ERROR_OUTPUT_STRING": "1",
    }
    yield found
    for words in (
        ["state", "unprotect", "--all", "--yes", "-s", STACK],
        ["destroy", "--yes", "-s", STACK],
        ["stack", "rm", "--yes", STACK],
    ):
        subprocess.run(["pulumi", *words], cwd=PROJECT, env=found, check=True)


def test_a_plain_pulumi_up_brings_the_stack_and_a_second_one_changes_nothing(
    environment: dict[str, str],
) -> None:
    def pulumi(*words: str) -> None:
        subprocess.run(["pulumi", *words], cwd=PROJECT, env=environment, check=True)

    pulumi("stack", "init", STACK)
    pulumi("up", "--yes", "-s", STACK)
    subprocess.run([TELEMETRY, "verify"], env=environment, check=True)
    pulumi("preview", "--expect-no-changes", "-s", STACK)
