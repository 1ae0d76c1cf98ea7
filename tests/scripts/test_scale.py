"""`telemetry scale`: files for whoever runs the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.identity import Hash, Login, table
from infra.settings import Settings, validated
from scripts import scale
from scripts.errors import Failure, Misuse

URL = "https://store.example.org:8443"
MANAGED = validated([{"scale": {"store": "managed", "url": URL}}])
CLUSTER = validated(
    [{"scale": {"store": "cluster", "url": URL, "shards": ["a1.example,a2.example"]}}]
)


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Path]:
    """A list of one member, and keys."""
    members, keys = tmp_path / "members", tmp_path / "keys"
    members.write_text(table([Login(id="m-anna000000", query=(Hash("a" * 64),))]))
    keys.write_text("admin_password=one\ningest_password=two\npseudonym_key=three\n")
    return {"members": members, "keys": keys}


def test_a_managed_store_gets_users_as_sql_and_the_files_as_they_are(
    tmp_path: Path, given: dict[str, Path]
) -> None:
    done = scale.write(MANAGED, tmp_path / "out", **given)
    script = (tmp_path / "out" / "users.sql").read_text()
    assert "CREATE USER IF NOT EXISTS `m-anna000000`" in script
    assert not {"one", "two", "three"} & set(script.split("'"))
    assert "Replicated" not in (tmp_path / "out/schema/ddl/0002_telemetry_events.sql").read_text()
    assert (tmp_path / "out" / "users.sql").stat().st_mode & 0o777 == 0o600
    assert f"CLICKHOUSE_URL={URL} " in done[-1]


def test_a_cluster_gets_files_for_its_servers_and_a_run_for_each_shard(
    tmp_path: Path, given: dict[str, Path]
) -> None:
    done = scale.write(CLUSTER, tmp_path / "out", **given)
    assert "telemetry_all" in (tmp_path / "out/users.d/telemetry.xml").read_text()
    assert "a2.example" in (tmp_path / "out/config.d/telemetry-cluster.xml").read_text()
    assert "Replicated(" in (tmp_path / "out/schema/before.sql").read_text()
    assert "CLICKHOUSE_URL=https://a1.example:8443 " in done[-1]


def test_what_is_missing_is_named(tmp_path: Path, given: dict[str, Path]) -> None:
    with pytest.raises(Misuse, match=r"scale\.store"):
        scale.write(Settings(), tmp_path / "out", **given)
    given["keys"].write_text("admin_password=one\n")
    with pytest.raises(Failure, match="no line ingest_password"):
        scale.write(MANAGED, tmp_path / "out", **given)
    given["members"].write_text("nonsense\n")
    with pytest.raises(Failure, match="line 1 of the list"):
        scale.write(MANAGED, tmp_path / "out", **given)
    with pytest.raises(Failure, match="cannot be read"):
        scale.write(MANAGED, tmp_path / "out", members=tmp_path / "absent", keys=given["keys"])
