"""Dangers of the `local` stack, as claims over everything it declares."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pulumi
import pulumi_docker
import pytest

from infra import services
from infra.settings import Settings
from infra.warehouse.migrations import DDL
from stacks import local
from stacks.home import PROJECT
from stacks.local import container, engine

from .registry import (
    CONTAINER,
    IMAGE,
    NETWORK,
    PROVIDER,
    SECRETS,
    VOLUME,
    Registry,
    bare,
    deployed,
    differing,
    home_with_secrets,
    is_secret,
    open_parts,
    run,
)

GO_DURATION = re.compile(r"(?:(?:[1-9]\d*h)?(?:[1-9]|[1-5]\d|(?<=h)\d)m)?(?:\d|[1-5]\d)s")
UNTYPED = re.compile(r"""[{,]\s*["'](internal|file|target|source|tests|drops)["']\s*:""")
NOT_FOR_EVERYONE = {
    "admin": SECRETS.admin_password,
    "ingest": SECRETS.ingest_password,
    "member": SECRETS.member_password,
    "pseudonym key": SECRETS.pseudonym_key,
}


def uploads(registry: Registry, name: str) -> dict[str, str]:
    """Contents of the files a container is given, by path."""
    return {
        upload["file"]: upload["content"] for upload in bare(registry.containers[name]["uploads"])
    }


def test_the_stack_has_what_the_services_say(stack: Registry) -> None:
    assert set(stack.containers) == {"clickhouse", "queue-owner", "collector", "schema"}
    assert {kind: len(stack.of(kind)) for kind in (NETWORK, VOLUME, IMAGE)} == {
        NETWORK: 1,
        VOLUME: 2,
        IMAGE: 2,
    }


def test_nothing_listens_outside_loopback(stack: Registry) -> None:
    ports = [port for each in stack.containers.values() for port in each["ports"]]
    assert {port["external"] for port in ports} == {4317, 4318, 8123, 8888, 13133}
    assert {port["ip"] for port in ports} == {"127.0.0.1"}
    for name, inputs in stack.containers.items():
        assert "networkMode" not in inputs, f"{name} could share the machine's own network"
        assert "publishAllPorts" not in inputs, f"{name} would publish on every address"


def test_no_secret_is_readable_in_the_state_or_in_docker_inspect(stack: Registry) -> None:
    seen = json.dumps([open_parts(each.inputs) for each in stack.made])
    whole = json.dumps([bare(each.inputs) for each in stack.made])
    for name in ("admin", "ingest", "pseudonym key"):
        assert NOT_FOR_EVERYONE[name] in whole, f"the {name} secret reaches no container"
    for name, value in NOT_FOR_EVERYONE.items():
        assert value not in seen, f"the {name} secret is in plain text"
    for name, inputs in stack.containers.items():
        shown = json.dumps(bare({key: inputs[key] for key in inputs if key != "uploads"}))
        for secret in NOT_FOR_EVERYONE.values():
            assert secret not in shown, f"`docker inspect` of {name} shows a secret"


def test_the_members_password_reaches_containers_only_as_a_hash(stack: Registry) -> None:
    whole = json.dumps([bare(each.inputs) for each in stack.made])
    assert SECRETS.member_password not in whole


def test_credentials_are_secret_outputs(tmp_path: Path) -> None:
    home = home_with_secrets(tmp_path / "home")
    outputs: dict[str, Any] = {}

    def program() -> Any:
        outputs.update(local.deploy(Settings(), home, "local"))
        secret = {
            name: value.is_secret()
            for name, value in outputs.items()
            if isinstance(value, pulumi.Output)
        }
        return pulumi.Output.all(**secret).apply(lambda found: secrecy.update(found))

    secrecy: dict[str, bool] = {}
    run(program)
    assert secrecy == {"member": True, "netrc": True}
    plain = json.dumps([value for value in outputs.values() if isinstance(value, str)])
    for secret in (SECRETS.member, *NOT_FOR_EVERYONE.values()):
        assert secret not in plain
    assert outputs["next"] == "telemetry verify"
    assert outputs["otlpHttp"] == "http://127.0.0.1:4318"


def test_every_container_is_limited_and_all_together_stay_within_2_gb(stack: Registry) -> None:
    for name, inputs in stack.containers.items():
        assert inputs["memory"] > 0, f"{name} may take all memory"
        assert inputs["memorySwap"] == inputs["memory"], f"{name} would differ at every `up`"
        assert 0 < float(inputs["cpus"]) <= 2, f"{name} may take every processor"
    assert sum(inputs["memory"] for inputs in stack.containers.values()) <= 2048


def test_no_container_runs_as_root_or_can_gain_rights(stack: Registry) -> None:
    for name, inputs in stack.containers.items():
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", inputs["user"]), f"{name} may run as root"
        assert inputs["capabilities"] == {"drops": ["ALL"]}, f"{name} keeps capabilities"
        assert inputs["securityOpts"] == ["no-new-privileges"], f"{name} may gain rights"
        assert "privileged" not in inputs
        assert "devices" not in inputs


def test_the_root_is_read_only_exactly_where_nothing_is_uploaded(stack: Registry) -> None:
    """The plugin refuses both together, even into a volume."""
    for name, inputs in stack.containers.items():
        assert inputs["readOnly"] is not bool(bare(inputs["uploads"])), name
    assert stack.containers["queue-owner"]["readOnly"] is True


def test_logs_cannot_fill_the_disk(stack: Registry) -> None:
    for name, inputs in stack.containers.items():
        assert inputs["logDriver"] == "json-file", name
        assert inputs["logOpts"] == {"max-size": "10m", "max-file": "3"}, name


def test_nothing_is_mounted_from_the_machine_itself(stack: Registry) -> None:
    for name, inputs in stack.containers.items():
        assert {key for mount in inputs["volumes"] for key in mount} <= {
            "volumeName",
            "containerPath",
        }, name
        assert "mounts" not in inputs, f"{name} would be replaced at every `up` on Podman"


def test_data_and_queue_are_on_protected_volumes_where_the_programs_write(
    stack: Registry,
) -> None:
    volumes = stack.of(VOLUME)
    assert all(volume.protect for volume in volumes.values())
    assert all("labels" not in volume.inputs for volume in volumes.values())
    mounted = {
        (mount["volumeName"], name, mount["containerPath"])
        for name, inputs in stack.containers.items()
        for mount in inputs["volumes"]
    }
    assert mounted == {
        ("telemetry-local-clickhouse-data", "clickhouse", "/var/lib/clickhouse"),
        ("telemetry-local-collector-queue", "collector", "/var/lib/otelcol"),
        # This one hands the empty volume over to the collector's user, and ends.
        ("telemetry-local-collector-queue", "queue-owner", "/var/lib/clickhouse"),
    }
    assert {volume.inputs["name"] for volume in volumes.values()} == {
        source for source, _, _ in mounted
    }
    assert (
        "directory: /var/lib/otelcol/queue"
        in uploads(stack, "collector")["/etc/otelcol-contrib/config.yaml"]
    )


def test_programs_are_given_time_to_end_from_the_first_up(stack: Registry) -> None:
    for name in ("clickhouse", "collector"):
        inputs = stack.containers[name]
        assert inputs["stopTimeout"] == inputs["destroyGraceSeconds"] == 30, name
    assert all("destroyGraceSeconds" in inputs for inputs in stack.containers.values())


def test_services_come_back_by_themselves_and_the_one_shot_does_not(stack: Registry) -> None:
    for name, inputs in stack.containers.items():
        once = name == "queue-owner"
        assert inputs["restart"] == ("no" if once else "unless-stopped"), name
        assert inputs["mustRun"] is not once, name
        assert inputs["attach"] is inputs["logs"] is once, name


def test_durations_are_written_as_the_engine_reports_them(stack: Registry) -> None:
    checks = [each["healthcheck"] for each in stack.containers.values() if "healthcheck" in each]
    assert len(checks) == 2
    for check in checks:
        for key in ("interval", "timeout", "startPeriod"):
            assert GO_DURATION.fullmatch(check[key]), f"{key} {check[key]} differs at every `up`"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0s"), (5, "5s"), (60, "1m0s"), (90, "1m30s"), (3600, "1h0m0s"), (3725, "1h2m5s")],
)
def test_a_duration_is_canonical(seconds: int, written: str) -> None:
    assert container.duration(seconds) == written


@pytest.mark.parametrize(
    ("number", "written"),
    # What the plugin reads back; "10." looks odd and is what it says.
    [(1, "1.0"), (2.0, "2.0"), (0.5, "0.5"), (0.25, "0.25"), (1.25, "1.25"), (10, "10.")],
)
def test_cpus_are_written_as_the_plugin_reads_them_back(number: float, written: str) -> None:
    assert container.cpus(number) == written


def test_an_up_waits_for_health_wherever_there_is_a_check(stack: Registry) -> None:
    for name, inputs in stack.containers.items():
        assert inputs["wait"] is ("healthcheck" in inputs), name
        assert not inputs["wait"] or inputs["waitTimeout"] >= 60, name
    assert stack.containers["schema"]["healthcheck"]["tests"][-1] == "probe"


def test_a_passing_up_means_that_the_collector_it_made_answers(stack: Registry) -> None:
    """The collector has no check of its own; the probe is made anew with what it proves."""
    watched = {label["value"] for label in stack.containers["schema"]["labels"]}
    assert watched == {"clickhouse-id", "collector-id"}
    assert stack.of(CONTAINER)["schema"].after >= {"clickhouse", "collector"}


def test_services_start_in_their_order(stack: Registry) -> None:
    found = stack.of(CONTAINER)
    for service in services.services(Settings(), SECRETS):
        assert found[service.name].after >= {*service.after, "network"}, service.name


def test_changes_the_plugin_would_swallow_replace_the_container(stack: Registry) -> None:
    for name, made in stack.of(CONTAINER).items():
        assert set(made.replace_on_changes) == {"healthcheck", "tmpfs", "init"}, name
        assert made.delete_before_replace, f"the name of {name} is taken until the old one is gone"


PODMANS = "unix:///run/user/7/podman/podman.sock"


def test_what_podman_reports_otherwise_replaces_no_container(tmp_path: Path) -> None:
    made = deployed(tmp_path / "home", docker={"host": PODMANS})
    for each in made.made:
        ignored = {"capabilities", "logOpts", "tmpfs"} if each.kind == CONTAINER else set()
        assert set(each.ignore_changes) == ignored, each.name


def test_podman_makes_a_container_anew_for_a_limit_that_it_cannot_change(tmp_path: Path) -> None:
    for made in deployed(tmp_path / "home", docker={"host": PODMANS}).of(CONTAINER).values():
        assert {"memory", "memorySwap"} < set(made.replace_on_changes)


def test_nothing_is_ignored_on_docker_and_limits_change_in_place(stack: Registry) -> None:
    for each in stack.made:
        assert each.ignore_changes == (), each.name
        assert not {"memory", "memorySwap"} & set(each.replace_on_changes), each.name


def test_podman_behind_the_usual_socket_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.engine_of(Settings()) == engine.DOCKER
    (tmp_path / "docker.sock").symlink_to(tmp_path / "podman" / "podman.sock")
    monkeypatch.setattr(engine, "_USUAL", tmp_path / "docker.sock")
    assert engine.engine_of(Settings()) == engine.PODMAN


def test_everything_is_made_by_the_engine_of_the_settings(tmp_path: Path) -> None:
    made = deployed(tmp_path / "home", docker={"host": PODMANS})
    assert made.of(PROVIDER)["engine"].inputs["host"] == PODMANS
    for each in made.made:
        if each.kind.startswith("docker:"):
            assert (each.provider, each.parent) == ("engine", "telemetry"), each.name


def test_without_a_setting_the_engine_is_that_of_docker_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "host" not in deployed(tmp_path / "one").of(PROVIDER)["engine"].inputs
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    inputs = deployed(tmp_path / "two").of(PROVIDER)["engine"].inputs
    assert inputs.get("host") in (None, "unix:///elsewhere.sock")


def test_two_stacks_on_one_engine_share_no_name(tmp_path: Path) -> None:
    kinds = (CONTAINER, VOLUME, NETWORK)
    mine, hers = (
        {each.inputs["name"] for kind in kinds for each in made.of(kind).values()}
        for made in (
            deployed(tmp_path / "mine"),
            deployed(tmp_path / "hers", stack="local-anna"),
        )
    )
    assert len(mine) == len(hers) == 7
    assert not mine & hers


def test_services_find_each_other_by_their_names(stack: Registry) -> None:
    for name, inputs in stack.containers.items():
        assert inputs["networksAdvanced"] == [{"name": "telemetry-local", "aliases": [name]}]


def test_every_image_is_an_exact_tag_or_digest_and_stays_after_destroy(stack: Registry) -> None:
    for image in stack.of(IMAGE).values():
        name = image.inputs["name"]
        assert re.search(r":\d+(\.\d+){2,}(@sha256:[0-9a-f]{64})?$", name), f"{name} is not exact"
        assert image.inputs["keepLocally"] is True
    for name, inputs in stack.containers.items():
        assert inputs["image"].startswith("sha256:"), f"{name} runs whatever a tag points to"


@pytest.fixture(scope="module")
def with_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The same with a Prometheus of our own."""
    return deployed(tmp_path_factory.mktemp("prometheus") / "home", backend="both")


def test_prometheus_is_there_only_where_it_is_chosen(
    stack: Registry, with_prometheus: Registry, tmp_path: Path
) -> None:
    theirs = deployed(
        tmp_path / "home",
        backend="prometheus",
        prometheus={"url": "https://prometheus.example/api/v1/write"},
    )
    for without in (stack, theirs):
        assert not [each.name for each in without.made if "prometheus" in each.name]
        assert "prometheus" not in without.outputs
    added = {each.name for each in with_prometheus.made} - {each.name for each in stack.made}
    assert added == {"prometheus", "prometheus-image", "prometheus-data"}
    assert with_prometheus.outputs["prometheus"] == "http://127.0.0.1:9090"


def test_prometheus_is_held_as_tightly_as_the_others(with_prometheus: Registry) -> None:
    """It has no login: whoever reaches its port reads and writes everything."""
    inputs = with_prometheus.containers["prometheus"]
    assert inputs["ports"] == [
        {"internal": 9090, "external": 9090, "ip": "127.0.0.1", "protocol": "tcp"}
    ]
    assert inputs["user"] == "65534:65534"
    assert inputs["memory"] == inputs["memorySwap"] == 256
    assert inputs["capabilities"] == {"drops": ["ALL"]}
    assert inputs["securityOpts"] == ["no-new-privileges"]
    assert inputs["envs"] == ["GOMEMLIMIT=204MiB"], "it would be killed before it tidies up"
    assert inputs["wait"] is True
    assert re.fullmatch(
        r"prom/prometheus:v\d+\.\d+\.\d+(@sha256:[0-9a-f]{64})?",
        with_prometheus.of(IMAGE)["prometheus-image"].inputs["name"],
    )
    whole = json.dumps(bare(inputs))
    for secret in NOT_FOR_EVERYONE.values():
        assert secret not in whole


def test_its_samples_are_on_a_protected_volume_that_its_user_owns(
    with_prometheus: Registry,
) -> None:
    inputs = with_prometheus.containers["prometheus"]
    # The image's own folder for data: an engine copies its ownership to an empty volume.
    assert inputs["volumes"] == [
        {"volumeName": "telemetry-local-prometheus-data", "containerPath": "/prometheus"}
    ]
    assert "--storage.tsdb.path=/prometheus" in inputs["command"]
    assert with_prometheus.of(VOLUME)["prometheus-data"].protect


def test_the_collector_ends_before_prometheus_and_hands_over_what_it_holds(
    with_prometheus: Registry,
) -> None:
    assert "prometheus" in with_prometheus.of(CONTAINER)["collector"].after
    config = uploads(with_prometheus, "collector")["/etc/otelcol-contrib/config.yaml"]
    assert "http://prometheus:9090/api/v1/write" in config


def test_prometheus_changes_nothing_but_the_collectors_configuration(
    stack: Registry, with_prometheus: Registry
) -> None:
    """And so no row of ClickHouse is at stake when it is chosen."""
    names = {each.name for each in stack.made}
    with_prometheus_less = Registry(
        made=[each for each in with_prometheus.made if each.name in names]
    )
    assert differing(stack, with_prometheus_less) == {"collector": {"uploads"}}


def test_an_image_is_replaced_by_setting_it(tmp_path: Path) -> None:
    digest = "registry.example/clickhouse@sha256:" + "a" * 64
    made = deployed(tmp_path / "home", images={"clickhouse": digest})
    assert made.of(IMAGE)["clickhouse-image"].inputs["name"] == digest


def test_lists_are_sorted(stack: Registry) -> None:
    for name, inputs in stack.containers.items():
        for key, order in (
            ("envs", lambda each: each),
            ("ports", lambda each: each["internal"]),
            ("uploads", lambda each: each["file"]),
            ("volumes", lambda each: each["volumeName"]),
            ("labels", lambda each: each["label"]),
        ):
            found = bare(inputs[key])
            assert found == sorted(found, key=order), f"{key} of {name}"


def test_the_uploaded_schema_is_the_numbered_files_and_nothing_else(stack: Registry) -> None:
    given = {
        path.removeprefix("/schema/ddl/"): text
        for path, text in uploads(stack, "schema").items()
        if path.startswith("/schema/ddl/")
    }
    assert given == {path.name: path.read_text() for path in DDL.glob("*")}
    assert len(given) >= 3


def test_uploaded_files_can_be_read_by_the_containers_user(stack: Registry) -> None:
    """They belong to root, and the container is another user."""
    for inputs in stack.containers.values():
        for upload in bare(inputs["uploads"]):
            assert int(upload["permissions"], 8) & 0o004, upload["file"]
            assert upload["content"], f"{upload['file']} is empty, which the plugin refuses"


def test_only_the_schema_container_knows_the_retention(tmp_path: Path) -> None:
    before = deployed(tmp_path / "one")
    after = deployed(tmp_path / "two", retention={"eventsDays": 30, "metricsDays": 7})
    assert differing(before, after) == {"schema": {"uploads"}}
    changed = {
        path
        for path, text in uploads(after, "schema").items()
        if uploads(before, "schema")[path] != text
    }
    assert changed == {"/schema/retention.tsv", "/schema/views.tsv"}


def test_clickhouses_memory_limit_changes_in_place(tmp_path: Path) -> None:
    before = deployed(tmp_path / "one")
    after = deployed(tmp_path / "two", limits={"clickhouseMemoryMib": 4096})
    assert differing(before, after) == {"clickhouse": {"memory", "memorySwap"}}


def test_the_other_memory_limits_touch_their_own_containers_and_no_volume(tmp_path: Path) -> None:
    before = deployed(tmp_path / "one")
    limit = {"memory", "memorySwap"}
    collector = deployed(tmp_path / "two", limits={"collectorMemoryMib": 512})
    # Go and the memory limiter read their share at the start, so this container is made anew.
    assert differing(before, collector) == {"collector": {*limit, "envs", "uploads"}}
    schema = deployed(tmp_path / "three", limits={"schemaMemoryMib": 128})
    assert differing(before, schema) == {"schema": limit, "queue-owner": limit}


def test_a_preview_declares_the_same(tmp_path: Path) -> None:
    home = home_with_secrets(tmp_path / "home")
    seen = run(lambda: local.deploy(Settings(), home, "local"), preview=True)
    assert {each.name for each in seen.made} >= {"clickhouse", "collector", "schema"}


def test_collection_that_a_member_paused_is_not_started_again(tmp_path: Path) -> None:
    home = home_with_secrets(tmp_path / "home")
    home.paused.write_text("now\n")

    def program() -> None:
        with pytest.raises(pulumi.RunError, match="telemetry resume"):
            local.deploy(Settings(), home, "local")

    assert run(program).made == []


@pytest.mark.parametrize("folder", ["stacks/local", "stacks/config.py", "__main__.py"])
def test_arguments_are_typed(folder: str) -> None:
    """A misspelt key in a plain mapping goes through silently; a typed argument is refused."""
    path = PROJECT / folder
    for file in path.rglob("*.py") if path.is_dir() else [path]:
        text = file.read_text()
        assert not re.search(
            r"""[{,]\s*["'](internal|file|target|source|tests|drops)["']\s*:""", text
        )
        assert ".apply(" not in text, f"{file.name} computes on what is known only after `up`"
    typed: list[Callable[..., Any]] = [pulumi_docker.ContainerArgs, pulumi_docker.ContainerPortArgs]
    for each in typed:
        with pytest.raises(TypeError):
            each(internl=4317)


def test_every_property_of_a_service_is_declared() -> None:
    """A new field of Service that no container shows would be lost without a sound."""
    text = (PROJECT / "stacks/local/container.py").read_text()
    component = (PROJECT / "stacks/local/component.py").read_text()
    for each in fields(services.Service):
        assert f"service.{each.name}" in text + component, f"{each.name} is not declared"
    for each in fields(services.Health):
        assert f"health.{each.name}" in text, f"{each.name} is not declared"


def test_secrecy_of_the_uploads_is_visible_to_these_tests(stack: Registry) -> None:
    """Guards the guard: the mark these tests look for is really there."""
    secret = {
        upload["file"]
        for inputs in stack.containers.values()
        for upload in _entries(inputs["uploads"])
        if is_secret(upload["content"]) or is_secret(inputs["uploads"])
    }
    assert "/schema/wgetrc" in secret


def _entries(found: Any) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = found["value"] if is_secret(found) else found
    return entries
