"""Settings: what is refused, and what wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra import settings
from infra.settings import Settings, SettingsError, validated


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"retention": {"eventsDays": 0}}, "retention.eventsDays is 0"),
        ({"retention": {"eventsDays": 9999}}, "less than or equal to 730"),
        ({"ports": {"otlpHttp": 4317}}, "every port must differ"),
        ({"ports": {"otlpHttp": 70000}}, "ports.otlpHttp is 70000"),
        ({"ports": {"otlpHtpp": 4318}}, "ports.otlpHtpp is no setting"),
        ({"retentionDays": 90}, "retentionDays is no setting"),
        ({"images": {"clickhouse": "clickhouse/clickhouse-server:latest"}}, "exact tag"),
        ({"images": {"clickhouse": "clickhouse/clickhouse-server"}}, "exact tag or a digest"),
        ({"limits": {"clickhouseMemoryMib": 10}}, "greater than or equal to 1024"),
        ({"backend": "influx"}, "backend is 'influx'"),
        ({"prometheus": {"url": "https://me:secret@prometheus.example/write"}}, "without user"),
        ({"prometheus": {"url": "https://prometheus.example"}}, "http(s)://host/path"),
        ({"context": {"chapters": {"branches": {"(": "x"}}}}, "no regular expression"),
        ({"backup": {"days": 22}}, "less than or equal to 21"),
        ({"backup": {"to": "s3://key:secret@bucket/folder"}}, "s3://bucket/folder"),
        ({"backup": {"to": "backups"}}, "a folder from / on"),
        ({"scale": {"store": "managed"}}, "both need it"),
        ({"scale": {"url": "https://store.example.org"}}, "`url` belongs to the stores"),
        ({"scale": {"store": "managed", "url": "http://store.example.org"}}, "https://host:port"),
        ({"scale": {"store": "managed", "url": "https://u:p@store.example"}}, "without user"),
        ({"scale": {"store": "cluster", "url": "https://a.example"}}, "`shards` belongs to"),
        ({"scale": {"shards": ["a,b", "c"]}}, "as many replicas"),
        ({"scale": {"shards": ["a,b", "c,a"]}}, "twice"),
        ({"scale": {"shards": ["a b"]}}, "no list of host names"),
    ],
)
def test_a_bad_value_is_refused_with_its_rule_and_its_mend(
    values: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        validated([values])
    assert said in str(refused.value)
    assert "pulumi config" in str(refused.value)
    assert "settings.yaml" in str(refused.value)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        validated([{"retention": {"eventsDays": 0}, "queue": {"maxMib": 1}}])
    assert len(str(refused.value).splitlines()) == 2


def test_a_later_layer_wins_key_by_key_not_group_by_group() -> None:
    team = {"ports": {"otlpHttp": 5000, "health": 5001}, "context": {"team": "book"}}
    member = {"ports": {"otlpHttp": 6000}}
    found = validated([team, member])
    assert (found.ports.otlp_http, found.ports.health) == (6000, 5001)
    assert (found.ports.clickhouse_http, found.context.team) == (8123, "book")


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().ports.__setattr__("otlp_http", 1)


def test_a_file_that_is_no_mapping_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("- a\n- b\n")
    with pytest.raises(SettingsError, match=r"settings\.yaml"):
        settings.load(tmp_path, tmp_path)
    (tmp_path / "settings.yaml").write_text("a: [")
    with pytest.raises(SettingsError, match="not valid YAML"):
        settings.load(tmp_path, tmp_path)


def test_the_teams_file_is_read_by_both_stacks_of_a_machine(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text(
        "name: telemetry\nconfig:\n  retention:\n    type: object\n    default: {eventsDays: 40}\n"
    )
    (tmp_path / "Pulumi.local.yaml").write_text(
        "config:\n  telemetry:context: {team: book}\n  other:key: 1\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    (home / "settings.yaml").write_text("retention: {metricsDays: 7}\n")
    found = settings.load(tmp_path, home)
    assert found.context.team == "book"
    assert (found.retention.events_days, found.retention.metrics_days) == (40, 7)


def test_the_default_limits_keep_both_services_within_2_gb() -> None:
    limits = Settings().limits
    together = limits.clickhouse_memory_mib + limits.collector_memory_mib + limits.schema_memory_mib
    assert together <= 2048
