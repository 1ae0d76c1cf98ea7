"""The schema files: numbered, repeatable, never edited; and both who apply them agree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.warehouse import migrations, names
from infra.warehouse.migrations import Migration, SchemaError
from tests.conftest import Stack


def latest(view: str) -> str:
    """What a view asks, as the last file has it that says so."""
    text = "".join(f"{each};" for file in migrations.migrations() for each in file.statements)
    return str(re.findall(rf"VIEW telemetry[.]{view}\s+AS ([^;]*);", text)[-1])


@pytest.mark.parametrize("name", names.SUMMARIES)
def test_touched_days_are_asked_as_all_days_are(name: str) -> None:
    """The text stands twice, so that ClickHouse has a view less to plan."""
    stored, _, touched = latest(name).partition("UNION ALL\n")
    guard = (
        r"toDate[(][ep][.]ts[)] IN "
        r"[(]SELECT day FROM telemetry[.]touched_days WHERE at [+] 120 >= refreshed[)]\s+AND "
    )
    assert re.sub(guard, "", touched) == latest(f"{name}_now") != touched
    assert f"FROM telemetry.{name}_store" in stored


def test_touched_days_of_daily_metrics_are_asked_as_all_days_are() -> None:
    _, _, touched = latest("daily_metrics").partition("UNION ALL\n")
    figures, _, condition = touched.partition("\nFROM telemetry.sessions_daily_now AS s\n")
    expected, _, _ = latest("daily_metrics_now").partition("\nFROM telemetry.sessions_daily AS s\n")
    assert figures == expected
    assert "WHERE day > oldest AND day IN (SELECT day FROM telemetry.touched_days" in condition


def test_every_statement_can_be_run_again() -> None:
    once = re.compile(
        r"^(CREATE (TABLE|MATERIALIZED VIEW|VIEW|DICTIONARY) IF NOT EXISTS|CREATE OR REPLACE"
        r"|ALTER TABLE \S+\s+(ADD|DROP|MODIFY) (COLUMN|INDEX) IF|DROP \S+ IF EXISTS"
        r"|ALTER TABLE \S+ MODIFY QUERY|CREATE DATABASE IF NOT EXISTS|SYSTEM FLUSH LOGS"
        # Twice the same rows are one row there: the sorting key is their identity.
        r"|INSERT INTO telemetry[.](telemetry_events|telemetry_events_0004|touched_days) SELECT)",
        re.IGNORECASE,
    )
    for file in migrations.migrations():
        for statement in file.statements:
            code = re.sub(r"^\s*--.*\n", "", statement, flags=re.MULTILINE).strip()
            assert once.match(code), f"{file.name}: {code[:60]}"


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1;\n")
    (tmp_path / "0003_b.sql").write_text("SELECT 1;\n")
    with pytest.raises(SchemaError, match="0003_b"):
        migrations.migrations(tmp_path)


def test_what_is_applied_is_not_applied_again_and_what_was_edited_is_named() -> None:
    first, second = Migration("0001_a.sql", "A;\n"), Migration("0002_b.sql", "B;\n")
    assert migrations.pending([first, second], {first.name: first.checksum}) == (second,)
    with pytest.raises(SchemaError, match=r"0001_a\.sql was edited.*git checkout"):
        migrations.pending([first, second], {first.name: "another"})


def test_a_database_of_a_newer_version_is_refused() -> None:
    with pytest.raises(SchemaError, match="newer version"):
        migrations.pending([], {"0009_later.sql": "x"})


def test_a_semicolon_inside_a_line_ends_no_statement() -> None:
    file = Migration("0001_a.sql", "-- one; two\nSELECT ';' AS a,\n 1;\n\n-- end\nSELECT 2;\n")
    assert [s.splitlines()[-1].strip() for s in file.statements] == ["1", "SELECT 2"]


def runner(stack: Stack, folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """infra/warehouse/runner.sh against a running stack, its files in `folder`."""
    (folder / "ddl").mkdir(exist_ok=True)
    for path in migrations.DDL.glob("*.sql"):
        if not (folder / "ddl" / path.name).exists():
            shutil.copy(path, folder / "ddl")
    (folder / "retention.tsv").write_text(migrations.retention_table(stack.settings))
    (folder / "views.tsv").write_text(migrations.views_table(stack.settings))
    password = stack.home.secrets().admin_password
    (folder / "wgetrc").write_text(f"http_user = {names.ADMIN_USER}\nhttp_password = {password}\n")
    return subprocess.run(
        ["sh", str(migrations.RUNNER), command],
        env={
            "PATH": os.environ["PATH"],
            "SCHEMA_DIR": str(folder),
            "CLICKHOUSE_URL": f"http://127.0.0.1:{stack.settings.ports.clickhouse_http}",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


needs_wget = pytest.mark.skipif(
    shutil.which("wget") is None, reason="the runner uses wget, which this machine lacks"
)


@pytest.mark.stack
@needs_wget
def test_the_shell_runner_and_the_command_agree(own_stack: Stack, tmp_path: Path) -> None:
    own_stack.ok("up")
    found = runner(own_stack, tmp_path, "apply")
    assert (found.returncode, found.stderr) == (0, "schema: current\n")
    assert runner(own_stack, tmp_path, "probe").returncode == 0
    schema = "SELECT name, create_table_query FROM system.tables WHERE database = 'telemetry'"
    by_command = set(map(tuple, own_stack.admin(schema)))
    recorded = f"SELECT name, checksum FROM telemetry.{names.MIGRATIONS} ORDER BY name"
    records = own_stack.admin(recorded)

    own_stack.admin("SELECT 1")
    from scripts import warehouse

    warehouse.as_admin(own_stack.settings, own_stack.home.secrets()).command(
        "DROP DATABASE telemetry SYNC"
    )
    assert runner(own_stack, tmp_path, "probe").returncode == 1
    assert runner(own_stack, tmp_path, "apply").returncode == 0
    assert set(map(tuple, own_stack.admin(schema))) == by_command
    assert own_stack.admin(recorded) == records
    assert "applied" not in own_stack.ok("up")


@pytest.mark.stack
@needs_wget
def test_the_shell_runner_refuses_an_edited_file_and_resumes_a_broken_one(
    own_stack: Stack, tmp_path: Path
) -> None:
    own_stack.ok("up")
    runner(own_stack, tmp_path, "apply")
    first = tmp_path / "ddl" / "0001_landing.sql"
    kept = first.read_text()
    first.write_text(kept + "-- more\n")
    refused = runner(own_stack, tmp_path, "apply")
    assert refused.returncode == 1
    assert "0001_landing.sql was edited" in refused.stderr
    first.write_text(kept)
    broken = tmp_path / "ddl" / "0099_broken.sql"
    good = "CREATE TABLE IF NOT EXISTS telemetry.half (x UInt8) ENGINE = Null;\n"
    broken.write_text(
        good + "CREATE TABLE IF NOT EXISTS telemetry.rest (x Nonsense) ENGINE = Null;\n"
    )
    failed = runner(own_stack, tmp_path, "apply")
    assert failed.returncode == 1
    assert "0099_broken.sql could not be applied" in failed.stderr
    assert "Nonsense" in failed.stderr
    broken.write_text(good + good.replace("half", "rest"))
    assert "applied 0099_broken.sql" in runner(own_stack, tmp_path, "apply").stderr
    tables = own_stack.admin(
        "SELECT name FROM system.tables WHERE database = 'telemetry' AND name IN ('half', 'rest')"
    )
    assert len(tables) == 2
