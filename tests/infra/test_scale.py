"""The same schema on one machine, on shards and on replicas: what is rendered, and why so."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from infra import services
from infra.settings import Settings, validated
from infra.warehouse import access, migrations, names, scale
from tests import servers
from tests.conftest import free_ports

URL = "https://store.example.org:8443"


def cluster(*shards: str) -> Settings:
    """Settings of a cluster."""
    return validated([{"scale": {"store": "cluster", "url": URL, "shards": list(shards)}}])


PLAIN = Settings()
SHARDS = cluster("one.example.org", "two.example.org")
REPLICAS = cluster("a1.example.org,a2.example.org", "b1.example.org,b2.example.org")
MANAGED = validated([{"scale": {"store": "managed", "url": URL}}])
OWN = "http://clickhouse:8123"


@pytest.mark.parametrize("settings", [PLAIN, SHARDS])
def test_files_stay_as_they_are_where_nothing_is_replicated(settings: Settings) -> None:
    files = {each.name: each.text for each in migrations.migrations()}
    assert scale.schema_files(settings) == files
    assert scale.before(settings) == ()


def test_a_managed_store_is_told_to_read_no_file_and_everything_else() -> None:
    for file in migrations.migrations():
        found = migrations.Migration(file.name, scale.schema_files(MANAGED)[file.name]).statements
        left_out = [each for each in file.statements if each not in found]
        assert all("telemetry.edge_log_keep" in each for each in left_out)
        assert not any("FROM file(" in each for each in found)
    assert scale.before(MANAGED) == scale.after(MANAGED) == ()


def test_replicas_change_the_engine_of_what_is_kept_and_no_other_letter() -> None:
    for file in migrations.migrations():
        text = scale.schema_files(REPLICAS)[file.name]
        assert text.replace("ENGINE = Replicated", "ENGINE = ") == file.text
        for engine in re.findall(r"ENGINE = (\w+)", text):
            assert engine == "Null" or re.fullmatch(r"Replicated\w*MergeTree", engine), file.name
    events = scale.schema_files(REPLICAS)["0005_rollups.sql"]
    assert "ENGINE = ReplicatedReplacingMergeTree(labelled_at)" in events


def test_on_replicas_databases_and_the_record_of_files_come_first() -> None:
    first = scale.before(REPLICAS)
    assert [each.split(" ENGINE = ")[1].split(" ")[0] for each in first] == [
        "Replicated('/clickhouse/databases/telemetry/{shard}',",
        "Replicated('/clickhouse/databases/telemetry_team/{shard}',",
        "Replicated('/clickhouse/databases/telemetry_all/{shard}',",
        "ReplicatedReplacingMergeTree",
    ]
    assert migrations.BOOTSTRAP[1].replace("= Replacing", "= ReplicatedReplacing") == first[-1]


def test_where_the_collector_inserts_and_where_the_schema_goes() -> None:
    assert (scale.endpoint(PLAIN, OWN), scale.database(PLAIN)) == (OWN, "telemetry")
    assert (scale.endpoint(MANAGED, OWN), scale.database(MANAGED)) == (URL, "telemetry")
    assert (scale.endpoint(REPLICAS, OWN), scale.database(REPLICAS)) == (URL, "telemetry_all")
    assert scale.schema_endpoints(PLAIN, OWN) == (OWN,)
    assert scale.schema_endpoints(MANAGED, OWN) == (URL,)
    assert scale.schema_endpoints(REPLICAS, OWN) == (
        "https://a1.example.org:8443",
        "https://b1.example.org:8443",
    )


def test_elsewhere_the_machine_runs_no_clickhouse_and_its_services_go_there() -> None:
    found = {
        store: {each.name: each for each in services.cloud_services(settings)}
        for store, settings in {"own": PLAIN, "managed": MANAGED, "cluster": SHARDS}.items()
    }
    assert {store: list(each) for store, each in found.items()} == {
        "own": ["clickhouse", "schema", "collector", "edge"],
        "managed": ["schema", "collector", "edge"],
        "cluster": ["collector", "edge"],
    }
    for store, each in found.items():
        exporter = yaml.safe_load(each["collector"].files[0].text)["exporters"]["clickhouse"]
        database = "telemetry_all" if store == "cluster" else "telemetry"
        assert exporter["endpoint"] == (OWN if store == "own" else URL)
        assert exporter["database"] == database
        assert ('"store.example.org:8443"' in each["edge"].files[0].text) == (store != "own")
        assert all(set(service.after) <= set(each) for service in each.values())
    schema = found["managed"]["schema"]
    assert dict(schema.environment) == {"CLICKHOUSE_URL": URL}
    texts = {file.path.removeprefix("/schema/ddl/"): file.text for file in schema.files}
    assert texts.items() >= scale.schema_files(MANAGED).items()


def test_every_name_that_a_member_may_ask_spans_the_shards() -> None:
    made = {
        match[1]
        for each in scale.after(SHARDS)
        if (match := re.match(r"CREATE OR REPLACE (?:TABLE|VIEW) telemetry_all[.](\w+) ", each))
    }
    plain = access.templates(loopback_default=False, alone=True)
    roles = scale.across(plain)[access.HEAD].partition("<roles>")[2].partition("<users>")[0]
    read = set(re.findall(r"GRANT SELECT ON telemetry_all[.](\w+)<", roles))
    assert read - set(names.ACCESS) <= made
    assert read >= {names.EVENTS, "daily_metrics", "daily_metrics_by_shard", "usage_daily_store"}
    written = re.findall(
        r"GRANT INSERT ON telemetry_all[.](otel_\w+)<", scale.across(plain)["head"]
    )
    assert len(written) == 3
    assert set(written) <= made


def test_row_filters_stay_where_the_rows_are() -> None:
    plain = access.templates(loopback_default=False, alone=True)
    for name, text in scale.across(plain).items():
        kept = re.compile(r"<databases>.*?</databases>", re.DOTALL)
        assert kept.findall(text) == kept.findall(plain[name])
    assert "<default_database>telemetry_all</default_database>" in scale.across(plain)["member"]


def test_servers_ask_each_other_in_the_name_of_who_asks() -> None:
    """A user and a password there instead would lift every row filter of the other shards."""
    found = ElementTree.fromstring(scale.cluster_xml(REPLICAS)).find(f".//{scale.CLUSTER}")
    assert found is not None
    secret = found.find("secret")
    assert secret is not None
    assert secret.attrib == {"from_env": scale.SECRET_VARIABLE}
    assert [each.findtext("host") for each in found.iter("replica")] == [
        "a1.example.org",
        "a2.example.org",
        "b1.example.org",
        "b2.example.org",
    ]
    assert {each.findtext("secure") for each in found.iter("replica")} == {"1"}
    assert not list(found.iter("user"))
    assert not list(found.iter("password"))


@pytest.mark.stack
def test_the_engine_knows_the_replicated_tables_and_why_their_database_must_be_too(
    tmp_path: Path,
) -> None:
    """With a Keeper in its own memory. It replicates nothing: libchdb has no interserver port."""
    more = """<clickhouse>
      <zookeeper><implementation>testkeeper</implementation></zookeeper>
      <default_replica_path>/tables/{database}/{table}</default_replica_path>
      <default_replica_name>one</default_replica_name>
    </clickhouse>"""
    [port] = free_ports(1)
    made = 0
    with servers.running(
        tmp_path / "server", port, users_xml=servers.users(across=True), more=more
    ) as server:
        server.rows("CREATE DATABASE telemetry")
        for name, text in scale.schema_files(REPLICAS).items():
            for statement in migrations.Migration(name, text).statements:
                server.rows(f"EXPLAIN AST {statement}")
                if re.search(
                    r"ENGINE = Replicated.*\nORDER|ENGINE = Replicated.*\nPART", statement
                ):
                    server.rows(statement)
                    made += 1
        engines = server.rows("SELECT engine FROM system.tables WHERE database = 'telemetry'")
        assert len(engines) == made > 8
        assert all(engine.startswith("Replicated") for [engine] in engines)
        server.rows("CREATE VIEW telemetry.days AS SELECT today() AS day, now() AS at")
        status, said = server.answer(
            "CREATE MATERIALIZED VIEW telemetry.refreshed REFRESH EVERY 10 MINUTE "
            "TO telemetry.touched_days AS SELECT * FROM telemetry.days"
        )
        assert status >= 400
        assert "non-replicated database, replicated table" in said
