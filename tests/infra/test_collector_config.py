"""The collector's configuration, as claims about what would be an incident."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.collector import content, remote_write, rules
from infra.collector.config import collector_config, render
from infra.collector.placement import Placement
from infra.secrets import Secrets
from infra.services import collector_secrets, services
from infra.settings import Backend, Settings
from scripts.toolchain import COLLECTOR

SECRETS = Secrets(
    member="m-0123456789",
    admin_password="Aadmin",
    ingest_password="Aingest",
    member_password="Amember",
    pseudonym_key="Akey",
)


def placement(folder: Path) -> Placement:
    return Placement(
        listen="127.0.0.1",
        otlp_http_port=4318,
        otlp_grpc_port=4317,
        health_port=13133,
        metrics_port=8888,
        warehouse="http://127.0.0.1:8123",
        prometheus="http://127.0.0.1:9090",
        secrets=str(folder / "secrets"),
        queue=str(folder / "queue"),
        aside=str(folder / "aside"),
    )


BACKENDS: tuple[Backend, ...] = ("clickhouse", "prometheus", "both")


def local_config(backend: Backend = "clickhouse") -> dict[str, Any]:
    """What the `local` stack uploads."""
    found_services = services(Settings(backend=backend), SECRETS)
    collector = next(each for each in found_services if each.name == "collector")
    [text] = [file.text for file in collector.files if file.path.endswith("config.yaml")]
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Where metrics go; what is claimed below holds for each."""
    found: Backend = request.param
    return found


@pytest.fixture
def config(tmp_path: Path, backend: Backend) -> dict[str, Any]:
    """The `embedded` one."""
    return collector_config(Settings(backend=backend), placement(tmp_path))


def test_nothing_is_acknowledged_before_it_is_on_disk(config: dict[str, Any]) -> None:
    queue = config["exporters"]["clickhouse"]["sending_queue"]
    storage = config["extensions"][queue["storage"]]
    assert storage["fsync"] is True
    pipelines = config["service"]["pipelines"]
    for name, pipeline in pipelines.items():
        if name != "metrics/prometheus":  # which promises no such thing
            assert "batch" not in pipeline["processors"], name


def test_the_queue_is_bounded_and_nothing_in_it_is_given_up(config: dict[str, Any]) -> None:
    exporter = config["exporters"]["clickhouse"]
    assert exporter["sending_queue"]["sizer"] == "bytes"
    assert exporter["sending_queue"]["queue_size"] == 1024 * 1024**2
    assert exporter["retry_on_failure"]["max_elapsed_time"] == "0s"
    assert exporter["sending_queue"]["block_on_overflow"] is False, "a full queue answers at once"


def test_every_way_in_is_sanitized_before_any_way_out(config: dict[str, Any]) -> None:
    pipelines = config["service"]["pipelines"]
    for name, pipeline in pipelines.items():
        if "otlp" in pipeline["receivers"]:
            steps = pipeline["processors"]
            assert steps[-1] == "transform/sanitize", name
            assert pipeline["exporters"] == ["forward"], f"{name} must not write by itself"
        else:
            assert pipeline["receivers"] == ["forward"], name


_PATHS = {"log": ("resource", "log"), "metric": ("resource", "datapoint")}


def _allowed(config: dict[str, Any], signal: str, path: str) -> list[str]:
    """Attributes that pass: of a statement without a condition, in a group without one."""
    groups = config["processors"]["transform/sanitize"][f"{signal}_statements"]
    start = f"keep_keys({path}.attributes, ["
    statements: list[str] = [
        statement
        for group in groups
        if group["context"] == path and "conditions" not in group
        for statement in group["statements"]
    ]
    [first] = [each for each in statements if each.startswith(start)]
    assert first.endswith("])")
    return first.removeprefix(start).removesuffix("])").replace('"', "").split(", ")


def test_only_listed_attributes_pass_and_a_failing_rule_stops_the_record(
    config: dict[str, Any],
) -> None:
    processors = config["processors"]
    for signal, paths in _PATHS.items():
        for path in paths:
            assert _allowed(config, signal, path) == list(content.allowed(Settings())), path
    for name, processor in processors.items():
        if name.startswith(("transform", "filter")):
            assert processor["error_mode"] == "propagate", name


def test_texts_are_never_on_the_list(config: dict[str, Any]) -> None:
    texts = {"prompt", "prompt_text", "response", "tool_input", "tool_parameters", "body"}
    for signal, paths in _PATHS.items():
        for path in paths:
            assert texts.isdisjoint(_allowed(config, signal, path)), path


def test_traces_have_no_way_in(config: dict[str, Any]) -> None:
    signals = {name.split("/")[0] for name in config["service"]["pipelines"]}
    assert signals == {"logs", "metrics"}


def test_no_secret_stands_in_the_configuration(config: dict[str, Any]) -> None:
    for text in (render(config), *(render(local_config(each)) for each in BACKENDS)):
        assert [value for value in collector_secrets(SECRETS).values() if value in text] == []


def test_a_statement_that_fails_would_not_log_the_key(config: dict[str, Any]) -> None:
    reference = "pseudonym-key}"
    statements = [
        statement
        for processor in config["processors"].values()
        for kind in ("log_statements", "metric_statements")
        for group in processor.get(kind, [])
        for statement in group["statements"]
        if reference in statement
    ]
    assert statements
    assert all("SHA256" not in each and each.startswith("set(") for each in statements)


def differences(one: Any, other: Any, path: str = "") -> set[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = one.keys() | other.keys()
        return set().union(
            *(differences(one.get(k), other.get(k), f"{path}.{k}".lstrip(".")) for k in keys)
        )
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return set().union(
            *(
                differences(a, b, f"{path}[{i}]")
                for i, (a, b) in enumerate(zip(one, other, strict=True))
            )
        )
    return set() if one == other else {path}


def test_the_stacks_differ_only_where_things_are(config: dict[str, Any], backend: Backend) -> None:
    # References to secrets name a folder; with those made equal, only addresses are left.
    here = yaml.safe_load(render(config).replace(str(placement(Path("x")).secrets), ""))
    folder = config["exporters"]["clickhouse"]["password"].split(":")[1].rsplit("/", 1)[0]
    here = yaml.safe_load(render(config).replace(folder, "SECRETS"))
    there = yaml.safe_load(
        render(local_config(backend)).replace("/etc/otelcol-contrib/secrets", "SECRETS")
    )
    to_prometheus = {"exporters.prometheus_remote_write.http.endpoint"}
    assert differences(here, there) == (set() if backend == "clickhouse" else to_prometheus) | {
        "receivers.otlp.protocols.http.endpoint",
        "receivers.otlp.protocols.grpc.endpoint",
        "exporters.clickhouse.endpoint",
        "exporters.file/aside.path",
        "extensions.health_check.endpoint",
        "extensions.file_storage/queue.directory",
        "extensions.file_storage/queue.compaction.directory",
        "service.telemetry.metrics.readers[0].pull.exporter.prometheus.host",
    }


@pytest.mark.stack
@pytest.mark.parametrize("stack", ["embedded", "local"])
def test_the_collector_accepts_every_rendering(
    tmp_path: Path, config: dict[str, Any], backend: Backend, stack: str
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, value in collector_secrets(SECRETS).items():
        (secrets / name).write_text(value)
    rendered = render(config if stack == "embedded" else local_config(backend))
    file = tmp_path / "config.yaml"
    file.write_text(rendered.replace("/etc/otelcol-contrib/secrets", str(secrets)))
    done = subprocess.run([COLLECTOR, "validate", "--config", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_metrics_go_where_the_backend_says_and_events_always_to_clickhouse(
    config: dict[str, Any], backend: Backend
) -> None:
    found = {name.split("/")[0]: set[str]() for name in config["service"]["pipelines"]}
    for name, pipeline in config["service"]["pipelines"].items():
        found[name.split("/")[0]] |= set(pipeline["exporters"]) - {"forward", "file/aside"}
    assert found["logs"] == {"clickhouse"}
    assert (
        found["metrics"]
        == {
            "clickhouse": {"clickhouse"},
            "prometheus": {"prometheus_remote_write"},
            "both": {"clickhouse", "prometheus_remote_write"},
        }[backend]
    )


def test_with_the_default_nothing_speaks_of_prometheus() -> None:
    exporters = local_config()["exporters"]
    assert set(exporters) == {"clickhouse", "file/aside"}
    assert set(local_config()["processors"]).isdisjoint(remote_write.processors())


def test_what_the_store_does_not_take_does_not_go_to_prometheus_either() -> None:
    processors = local_config("both")["processors"]
    store = processors["filter/store"]["metric_conditions"]
    guards = processors["filter/prometheus"]["metric_conditions"]
    assert set(store) < set(guards), "nor does a self-test, which nobody could take out again"
    assert remote_write.pipeline()["processors"][0] == "filter/prometheus"


def test_labels_are_few_and_none_of_them_names_one_record_or_one_prompt() -> None:
    kept = {rule.name for rule in rules.attributes()}
    assert set(remote_write.LABELS) <= kept | {"member"}, "a label nobody may keep is always empty"
    assert set(remote_write.LABELS).isdisjoint(
        {"telemetry.record_hash", "prompt.id", "request_id", "tool_use_id", "message.uuid"}
        | {rule.name for rule in rules.pseudonyms()}
    )
    assert len(remote_write.LABELS) < 20


def test_prometheus_that_is_away_cannot_refuse_or_delay_a_request() -> None:
    """The last step answers by itself, and what it hands to is bounded in number and size."""
    found = local_config("both")
    assert found["service"]["pipelines"]["metrics/prometheus"]["processors"][-1] == "batch"
    batch = found["processors"]["batch"]
    queue = found["exporters"]["prometheus_remote_write"]["remote_write_queue"]
    assert queue["enabled"] is True
    assert 0 < batch["send_batch_max_size"] * queue["queue_size"] <= 25_000


def test_an_existing_prometheus_takes_the_place_of_our_own() -> None:
    url = "https://prometheus.example/api/v1/write"
    settings = Settings.model_validate({"backend": "both", "prometheus": {"url": url}})
    found = services(settings, SECRETS)
    assert "prometheus" not in {each.name for each in found}
    collector = next(each for each in found if each.name == "collector")
    assert any(f"endpoint: {url}" in file.text for file in collector.files)
