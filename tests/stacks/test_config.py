"""From Pulumi's configuration to settings: one way in, and nothing bad gets through."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_origin

import pulumi
import pytest
import yaml
from pulumi.runtime import set_all_config

from infra.settings import Settings, project_defaults
from stacks import config
from stacks.home import PROJECT, Home

from .registry import CLOUD, CONTAINER, INSTANCE, home_with_secrets, run

PROJECT_FILE = PROJECT / "Pulumi.yaml"
TYPES = {int: "integer", bool: "boolean", str: "string", float: "string", dict: "object",
         tuple: "array"}  # fmt: skip
MACHINES_OWN = "programs"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A state folder that the program finds by itself; Pulumi's configuration is emptied after."""
    monkeypatch.setenv("TELEMETRY_HOME", str(tmp_path / "home"))
    yield home_with_secrets(tmp_path / "home")
    set_all_config({})


def leaves(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting with its full name."""
    for field in model.model_fields.values():
        name = f"{path}{field.alias}"
        if hasattr(field.annotation, "model_fields"):
            yield from leaves(field.annotation, f"{name}.")
        else:
            yield name, field


def declared() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(PROJECT_FILE.read_text())["config"]
    return found


def test_the_project_file_lists_every_setting_and_no_other() -> None:
    settings = {name for name, _ in leaves(Settings) if name.partition(".")[0] != MACHINES_OWN}
    assert set(declared()) == settings
    assert len(settings) > 15


def test_every_setting_has_the_type_the_model_has_and_its_range() -> None:
    listed = declared()
    for name, field in leaves(Settings):
        if name in listed:
            choice = get_origin(field.annotation) is Literal
            given = str if choice else field.annotation
            compound = next(
                (TYPES[each] for each in (dict, tuple) if get_origin(given) is each), ""
            )
            kind = compound or TYPES[given]
            assert listed[name]["type"] == kind, name
            bounds = [getattr(each, end) for end in ("ge", "le") for each in field.metadata
                      if hasattr(each, end)]  # fmt: skip
            text = f" ({bounds[0]} to {bounds[1]})" if len(bounds) == 2 else ""
            assert listed[name]["description"] == f"{field.description}{text}", name


def test_the_defaults_are_those_of_the_model() -> None:
    assert Settings.model_validate(project_defaults(PROJECT_FILE)) == Settings()
    assert all("default" in each for each in declared().values()), (
        "Pulumi demands a value from every stack for a key without a default"
    )


def test_the_teams_file_in_git_holds_no_encryption_salt_and_no_secret() -> None:
    for stack in config.KINDS:
        name = f"Pulumi.{stack}.yaml"
        staged = subprocess.run(
            ["git", "show", f":{name}"], cwd=PROJECT, capture_output=True, text=True, check=False
        )
        if staged.returncode != 0:
            pytest.skip(f"{name} is in no git index here")
        found = yaml.safe_load(staged.stdout) or {}
        assert "encryptionsalt" not in found, (
            f"{name} carries your own encryptionsalt: `git restore --staged {name}`"
        )
        assert "secure" not in json.dumps(found)
        assert set(found) <= {"config"}


def test_the_teams_values_and_then_the_members_own_win(home: Home) -> None:
    set_all_config(
        {
            "telemetry:ports": json.dumps({"otlpHttp": 5318, "health": 5133}),
            "telemetry:limits": json.dumps({"clickhouseCpus": "1.5"}),
            "other:ports": "1",
        }
    )
    (home.path / "settings.yaml").write_text("ports: {health: 6133}\n")
    found = config.settings(home)
    assert (found.ports.otlp_http, found.ports.health, found.ports.otlp_grpc) == (5318, 6133, 4317)
    assert found.limits.clickhouse_cpus == 1.5


def test_a_team_or_chapter_that_looks_like_a_number_is_a_name(home: Home) -> None:
    """`pulumi config set --path` writes it as a number."""
    values = {"team": 42, "chapters": {"paths": {"ch/01/**": 1}}}
    set_all_config({"telemetry:context": json.dumps(values)})
    found = config.settings(home).context
    assert found.team == "42"
    assert found.chapters.paths == {"ch/01/**": "1"}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("telemetry:retention", '{"eventsDays": 0}', "retention.eventsDays is 0"),
        ("telemetry:retenton", '{"eventsDays": 9}', "retenton is no setting"),
        ("telemetry:ports", '{"otlpHtpp": 9}', "ports.otlpHtpp is no setting"),
        ("telemetry:ports", "4318", "ports is 4318"),
        ("telemetry:images", '{"collector": "otel/collector:latest"}', "exact tag"),
    ],
)
def test_a_bad_setting_ends_the_program_before_anything_is_made(
    home: Home, key: str, value: str, said: str
) -> None:
    def program() -> None:
        set_all_config({key: value})
        with pytest.raises(pulumi.RunError) as refused:
            runpy.run_path(str(PROJECT / "__main__.py"))
        assert said in str(refused.value)
        assert "pulumi config" in str(refused.value)

    assert home.path.exists()
    assert run(program).made == []


def test_a_state_folder_in_the_clone_ends_the_program(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELEMETRY_HOME", str(PROJECT / "state"))
    with pytest.raises(pulumi.RunError, match="lies in the clone"):
        config.home()
    assert home.path.exists()
    assert not (PROJECT / "state").exists()


@pytest.mark.parametrize("stack", ["local", "local-anna"])
def test_the_program_deploys_what_the_stacks_name_says(home: Home, stack: str) -> None:
    set_all_config({"telemetry:ports": json.dumps({"otlpHttp": 5318})})
    made = run(lambda: runpy.run_path(str(PROJECT / "__main__.py")) and None, stack=stack)
    collector = made.of(CONTAINER)["collector"].inputs
    assert collector["name"] == f"telemetry-{stack}-collector"
    assert 5318 in {port["external"] for port in collector["ports"]}
    assert home.path.exists()


@pytest.mark.parametrize("stack", ["dev", "locale", "clouds", ""])
def test_a_stack_of_an_unknown_kind_is_refused_with_what_it_may_be_called(stack: str) -> None:
    with pytest.raises(pulumi.RunError, match="pulumi stack init local"):
        config.kind(stack)
    with pytest.raises(pulumi.RunError, match="pulumi stack init cloud"):
        config.kind(stack)


def cloud_config(**groups: dict[str, Any]) -> dict[str, str]:
    return {f"telemetry:{name}": json.dumps(values) for name, values in {**CLOUD, **groups}.items()}


def test_a_members_own_settings_do_not_count_for_the_shared_endpoint(home: Home) -> None:
    (home.path / "settings.yaml").write_text("retention: {eventsDays: 7}\nnonsense: 1\n")
    set_all_config(cloud_config())
    found = config.cloud_settings()
    assert (found.retention.events_days, found.cloud.project) == (90, "my-project")


@pytest.mark.parametrize("stack", ["cloud", "cloud-test"])
def test_a_cloud_stack_needs_no_state_folder(
    stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELEMETRY_HOME", str(tmp_path / "none"))
    set_all_config(cloud_config())
    try:
        made = run(lambda: runpy.run_path(str(PROJECT / "__main__.py")) and None, stack=stack)
    finally:
        set_all_config({})
    [machine] = made.of(INSTANCE).values()
    assert machine.inputs["name"] == f"telemetry-{stack}"
    assert not made.of(CONTAINER)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"cloud": {}}, "cloud.project is not set"),
        ({"edge": {}}, "edge.allowedRanges is not set"),
        ({"cloud": {"project": "My Project"}}, "id of the project"),
        ({"edge": {"allowedRanges": ["everybody"]}}, "no IPv4 range"),
        ({"cloud": {"project": "my-project", "dnsZone": "zone"}}, "no telemetry:edge.domain"),
        ({"cloud": {"project": "my-project", "machineType": "c4a-standard-2"}}, "hyperdisk"),
        ({"cloud": {"project": "my-project", "zone": "us-east1-b"}}, "not in europe-west1"),
        ({"cloud": {"project": "my-project", "administrators": ["anna"]}}, "no principal"),
    ],
)
def test_a_bad_setting_of_the_shared_endpoint_makes_nothing(
    groups: dict[str, dict[str, Any]], said: str
) -> None:
    def program() -> None:
        set_all_config(cloud_config(**groups))
        with pytest.raises(pulumi.RunError) as refused:
            runpy.run_path(str(PROJECT / "__main__.py"))
        assert said in str(refused.value)

    try:
        assert run(program, stack="cloud").made == []
    finally:
        set_all_config({})


LOADED = """
import contextlib, runpy, sys
import pulumi

pulumi.get_stack = lambda: sys.argv[2]
with contextlib.suppress(Exception):  # no engine listens, and nothing is configured
    runpy.run_path(sys.argv[1])
print([name for name in ("pulumi_docker", "pulumi_gcp") if name in sys.modules])
"""


@pytest.mark.parametrize(("stack", "loaded"), [("local", "pulumi_docker"), ("cloud", "pulumi_gcp")])
def test_only_the_provider_that_is_needed_is_loaded(
    stack: str, loaded: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(PROJECT / "__main__.py"), stack],
        cwd=PROJECT,
        env={**os.environ, "TELEMETRY_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str([loaded])


def test_only_one_module_reads_pulumis_configuration() -> None:
    for file in [PROJECT / "__main__.py", *(PROJECT / "stacks").rglob("*.py")]:
        if file.name != "config.py":
            text = file.read_text()
            assert "pulumi.Config" not in text, file
            assert "get_config" not in text, file


def test_the_entry_point_stays_a_table_of_contents() -> None:
    code = [line for line in (PROJECT / "__main__.py").read_text().splitlines() if line.strip()]
    assert len(code) <= 15
