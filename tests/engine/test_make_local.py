"""`make local` with the real Pulumi program, as far as it goes without a language host."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts import local
from stacks.home import PROJECT, Home

from . import automation
from .fixtures import unavailable

pytestmark = pytest.mark.engine


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "a state folder")
    made.prepare()
    return made


def make_local(home: Home, *arguments: str, clone: Path = PROJECT) -> str:
    """What it printed; it must go well."""
    try:
        pulumi = automation.pulumi_program()
    except automation.NoPulumiError as reason:
        unavailable(reason)
    programs = home.path.parent / "bin"
    programs.mkdir(exist_ok=True)
    if not (programs / "pulumi").exists():
        (programs / "pulumi").symlink_to(pulumi.resolve())
    done = subprocess.run(
        [sys.executable, "-m", "scripts.local", *arguments],
        cwd=clone,
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "TELEMETRY_HOME": str(home.path),
            "PULUMI_HOME": str(home.path.parent / "pulumi-home"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy_of(home: Home) -> Path:
    return home.path / "pulumi/project/Pulumi.local.yaml"


def test_the_salt_stays_in_the_state_folder_and_out_of_the_clone(home: Home) -> None:
    team = PROJECT / "Pulumi.local.yaml"
    before = team.read_text()
    make_local(home, "stack", "ls")
    first = yaml.safe_load(copy_of(home).read_text())["encryptionsalt"]
    make_local(home, "stack", "ls")
    assert team.read_text() == before
    assert yaml.safe_load(copy_of(home).read_text())["encryptionsalt"] == first
    assert (home.path / "pulumi").stat().st_mode & 0o077 == 0
    assert list((home.path / "pulumi/.pulumi/stacks/telemetry").glob("local.json"))


def test_the_teams_values_reach_the_copy_and_its_salt_does_not(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    shutil.copy(PROJECT / "Pulumi.yaml", clone)
    team = {"config": {"telemetry:ports": {"otlpHttp": 5318}}, "encryptionsalt": "v1:theirs"}
    (clone / "Pulumi.local.yaml").write_text(yaml.safe_dump(team))
    monkeypatch.setattr(local, "PROJECT", clone)
    (home.path / "pulumi").mkdir()
    copy = local.copied(home)
    assert yaml.safe_load(copy.read_text()) == {"config": team["config"]}
    copy.write_text(yaml.safe_dump({"encryptionsalt": "v1:mine"}))
    local.copied(home)
    assert yaml.safe_load(copy.read_text()) == {**team, "encryptionsalt": "v1:mine"}


def test_an_up_reads_the_copy_and_a_setting_goes_to_the_teams_file(tmp_path: Path) -> None:
    copy = tmp_path / "Pulumi.local.yaml"
    assert local.commands(["up", "--yes"], copy)[1] == [
        *("up", "--yes", "-s", "local", "--config-file", str(copy))
    ]
    assert local.commands(["config", "set", "a", "b"], copy)[1] == [
        *("config", "set", "a", "b", "-s", "local")
    ]


def test_pulumi_fills_a_group_up_with_the_defaults_key_by_key(home: Home, tmp_path: Path) -> None:
    """Keys with dots in Pulumi.yaml are paths; this is what Pulumi itself makes of them."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("infra", "stacks", "scripts"):
        (clone / name).symlink_to(PROJECT / name)
    shutil.copy(PROJECT / "Pulumi.yaml", clone)
    (clone / "Pulumi.local.yaml").write_text("config: {}\n")
    environment = {
        "PULUMI_BACKEND_URL": (tmp_path / "backend").as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_HOME": str(tmp_path / "pulumi-home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    (tmp_path / "backend").mkdir()

    def pulumi(*arguments: str) -> str:
        try:
            program = automation.pulumi_program()
        except automation.NoPulumiError as reason:
            unavailable(reason)
        return subprocess.run(
            [program, *arguments, "-s", "local"],
            cwd=clone,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    pulumi("stack", "select", "--create")
    pulumi("config", "set", "--path", "telemetry:ports.otlpHttp", "5318")
    pulumi("config", "set", "--path", "telemetry:limits.clickhouseCpus", "1.5")
    found = {
        key: each.get("objectValue", each["value"])
        for key, each in yaml.safe_load(pulumi("config", "--json")).items()
    }
    assert found["telemetry:ports"] == {
        "otlpHttp": 5318,
        "otlpGrpc": 4317,
        "clickhouseHttp": 8123,
        "health": 13133,
        "collectorMetrics": 8888,
        "prometheus": 9090,
    }
    assert found["telemetry:limits"]["clickhouseCpus"] == "1.5"
    assert found["telemetry:context"] == {"team": "", "chapters": {"paths": {}, "branches": {}}}
    assert set(found) == {
        f"telemetry:{group}"
        for group in (
            "ports",
            "retention",
            "backup",
            "limits",
            "sampling",
            "queue",
            "images",
            "docker",
            "prometheus",
            "backend",
            "stores",
            "budget",
            "context",
            "content",
            "privacy",
            "code",
            "sanitize",
            "cloud",
            "edge",
            "identity",
            "scale",
        )
    }
    assert home.path.exists()
