"""The `cloud` stack under the real Pulumi engine, with a double of Google Cloud.

The tests share one stack and follow each other; each leaves it as it should be.
"""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pulumi
import pytest
from pulumi.automation import CommandError, ConfigValue
from pulumi_gcp import compute

from stacks.home import PROJECT, Home
from tests import google

from . import automation
from .automation import Deployment
from .fixtures import unavailable

pytestmark = pytest.mark.engine

ANNA = "user:anna@example.org"
VALUES: dict[str, dict[str, Any]] = {
    "cloud": {"project": "my-project", "alertEmail": "ops@example.org"},
    "edge": {"allowedRanges": ["0.0.0.0/0"]},
}
OTHER = {"dataDiskGib": 300, "image": "projects/cos-cloud/global/images/cos-stable-125-1"}


def program() -> None:
    """The whole Pulumi program, from its own entry point."""
    runpy.run_path(str(PROJECT / "__main__.py"))


@dataclass
class CloudStack:
    """One deployed `cloud` stack, and what there is in the cloud."""

    deployed: Deployment
    cloud: Path
    home: Home

    def configure(self, **groups: dict[str, Any]) -> None:
        """What `pulumi config set` would write."""
        for name, values in {**VALUES, **groups}.items():
            value = ConfigValue(value=json.dumps(values))
            self.deployed.stack.set_config(f"telemetry:{name}", value)

    def objects(self) -> dict[str, dict[str, Any]]:
        """By kind and name."""
        return {unquote(file.name): json.loads(file.read_text()) for file in self.cloud.iterdir()}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudStack]:
    """The stack, up; on a machine of a member, who has secrets and settings of their own."""
    folder = tmp_path_factory.mktemp("cloud")
    cloud, home = folder / "cloud", Home(folder / "home")
    cloud.mkdir()
    home.prepare()
    home.secrets()
    (home.path / "settings.yaml").write_text("retention: {eventsDays: 7}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELEMETRY_HOME", str(home.path))
        patch.setenv("PULUMI_ERROR_OUTPUT_STRING", "1")
        made = CloudStack(_deployment(folder / "pulumi", cloud, "cloud"), cloud, home)
        made.configure()
        [(kind, number)] = made.deployed.preview().items()
        assert kind == "create"
        assert not made.objects()
        assert made.deployed.up() == {"create": number}
        yield made


def _deployment(folder: Path, cloud: Path, name: str, main: Any = program) -> Deployment:
    try:
        automation.pulumi_program()
    except automation.NoPulumiError as reason:
        unavailable(reason)
    return automation.deployment(
        main,
        folder=folder,
        provider="gcp",
        stack=name,
        environment={"TELEMETRY_TEST_CLOUD": str(cloud)},
    )


def test_a_second_up_changes_nothing(stack: CloudStack) -> None:
    before = stack.objects()
    assert len(before) > 30
    assert set(stack.deployed.preview()) == {"same"}
    assert set(stack.deployed.up()) == {"same"}
    assert set(stack.deployed.up(refresh=True)) == {"same"}
    assert stack.objects() == before


def test_marks_of_who_changes_secrets_are_left_alone(stack: CloudStack) -> None:
    [file] = (each for each in stack.cloud.iterdir() if each.name.endswith("telemetry-cloud-lock"))
    marked = {**json.loads(file.read_text()), "annotations": {"telemetry-lock": "free"}}
    file.write_text(json.dumps(marked))
    assert set(stack.deployed.up(refresh=True)) == {"same"}
    assert set(stack.deployed.up()) == {"same"}
    assert json.loads(file.read_text()) == marked


def test_the_cost_is_told_before_anything_is_made(stack: CloudStack) -> None:
    said = "".join(stack.deployed.log)
    assert "What it costs a month, about:" in said
    assert "machine (e2-standard-2)" in said
    outputs = stack.deployed.outputs()
    assert outputs["endpoint"] == f"https://{google.ADDRESS}"
    assert outputs["address"] == google.ADDRESS
    assert "protected" in outputs["keeps"]


def test_a_members_own_settings_and_secrets_are_not_in_it(stack: CloudStack) -> None:
    state = stack.deployed.state_text() + json.dumps(stack.objects()) + "".join(stack.deployed.log)
    for file in sorted(stack.home.secrets_folder.iterdir()):
        assert file.read_text() not in state, file.name
    assert "PRIVATE KEY" not in state
    secrets = [each for each in stack.deployed.resources() if "secretmanager" in each["type"]]
    assert {each["type"].rpartition(":")[2] for each in secrets} == {"Secret", "SecretIamMember"}


def test_a_changed_retention_touches_the_bundle_only(stack: CloudStack) -> None:
    before = stack.objects()
    stack.configure(retention={"eventsDays": 30})
    summary = stack.deployed.up()
    assert set(summary) == {"same", "update"}
    assert summary["update"] == 1
    after = stack.objects()
    assert {name for name in after if before.get(name) != after[name]} == {
        "BucketObject bundle.tar.gz.b64"
    }
    assert before.keys() == after.keys()


def test_an_administrator_leaves_the_machine_alone(stack: CloudStack) -> None:
    before = stack.objects()
    stack.configure(cloud={**VALUES["cloud"], "administrators": [ANNA]})
    assert set(stack.deployed.up()) <= {"create", "update", "same"}
    after = stack.objects()
    bundle = "BucketObject bundle.tar.gz.b64"
    assert {name for name in before if before[name] != after.get(name)} <= {bundle}
    assert "Firewall telemetry-cloud-administrators-in" in after.keys() - before.keys()
    stack.configure()
    stack.deployed.up()
    assert stack.objects().keys() == before.keys()


def test_a_bigger_machine_and_a_bigger_disk_change_in_place(stack: CloudStack) -> None:
    bigger = {"machineType": "e2-standard-8", "dataDiskGib": 300}
    stack.configure(cloud={**VALUES["cloud"], **bigger})
    assert stack.deployed.up()["update"] >= 2
    after = stack.objects()
    assert after["Instance telemetry-cloud"]["machineType"] == "e2-standard-8"
    assert after["Disk telemetry-cloud-data"]["size"] == 300


def test_a_smaller_disk_is_refused(stack: CloudStack) -> None:
    before = stack.objects()
    stack.configure(cloud={**VALUES["cloud"], "dataDiskGib": 50})
    with pytest.raises(CommandError, match="protected"):
        stack.deployed.up()
    assert stack.objects()["Disk telemetry-cloud-data"] == before["Disk telemetry-cloud-data"]
    stack.configure()


def test_another_image_needs_the_protection_off_and_keeps_disk_and_address(
    stack: CloudStack,
) -> None:
    """The machine is the one thing that is replaced; what is granted on it is granted anew."""
    image = {"image": OTHER["image"]}
    same = {"dataDiskGib": OTHER["dataDiskGib"], "administrators": [ANNA]}
    before = stack.objects()
    stack.configure(cloud={**VALUES["cloud"], **same, **image})
    with pytest.raises(CommandError, match="protect"):
        stack.deployed.up()
    assert stack.objects()["Instance telemetry-cloud"] == before["Instance telemetry-cloud"]
    stack.configure(cloud={**VALUES["cloud"], **same, "deletionProtection": False})
    stack.deployed.up()
    kept = stack.objects()
    stack.configure(cloud={**VALUES["cloud"], **same, **image, "deletionProtection": False})
    summary = stack.deployed.up()
    assert summary["replace"] == 3
    after = stack.objects()
    assert after.keys() == kept.keys()
    bundle = "BucketObject bundle.tar.gz.b64"
    assert {name for name in after if after[name] != kept[name]} - {bundle} == {
        "Instance telemetry-cloud"
    }
    stack.configure(cloud={**VALUES["cloud"], **same, **image})
    stack.deployed.up()
    assert set(stack.deployed.up()) == {"same"}


def test_destroy_keeps_what_is_protected_and_says_so(stack: CloudStack) -> None:
    """In its preview, without which nobody should run it. The disk and the address are not reached:
    the machine stands in front of them."""
    before = stack.objects()
    with pytest.raises(CommandError, match="protected") as refused:
        stack.deployed.stack.preview_destroy(on_output=stack.deployed.log.append)
    for kept in ("machine", "backups", "configuration", "keys", "members-1"):
        assert f"::{kept}'" in str(refused.value), kept
    assert stack.objects() == before


def test_with_the_protection_off_destroy_keeps_what_must_last(stack: CloudStack) -> None:
    stack.configure(cloud={**VALUES["cloud"], **OTHER, "deletionProtection": False})
    stack.deployed.up()
    with pytest.raises(CommandError, match='Disk::data" cannot be deleted'):
        stack.deployed.stack.preview_destroy(on_output=stack.deployed.log.append)
    data = stack.objects()["Disk telemetry-cloud-data"]
    stack.deployed.stack.destroy(on_output=stack.deployed.log.append, exclude_protected=True)
    left = stack.objects()
    assert left["Disk telemetry-cloud-data"] == data
    assert {name.partition(" ")[0] for name in left} == {
        *("Address", "Bucket", "BucketObject", "Disk", "Secret", "Service"),
    }
    stack.deployed.up()
    assert stack.objects()["Disk telemetry-cloud-data"] == data
    assert "Instance telemetry-cloud" in stack.objects()


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"sise": 10}, "no property 'sise'"),
        ({"size": "ten"}, "no int"),
    ],
)
def test_the_double_refuses_what_the_plugin_would(
    tmp_path: Path, inputs: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards the guard: past the typed arguments, the engine asks the plugin."""
    monkeypatch.setenv("PULUMI_ERROR_OUTPUT_STRING", "1")

    class Untyped(pulumi.CustomResource):
        def __init__(self) -> None:
            super().__init__("gcp:compute/disk:Disk", "disk", inputs)

    (tmp_path / "cloud").mkdir()
    deployed = _deployment(tmp_path / "pulumi", tmp_path / "cloud", "cloud", Untyped)
    with pytest.raises(CommandError) as refused:
        deployed.up()
    assert said in str(refused.value)
    assert compute.DiskArgs(size=10)
