"""Backups, with the real programs: what is in them, what is written again, what lapses, what is
refused."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3
from moto.server import ThreadedMotoServer

from infra.warehouse import names
from scripts import backup as saving
from scripts import parquet, restore, rewrite
from scripts.errors import Failure, Misuse
from scripts.repository import Key, Manifest, Repository, place
from stacks import copies
from tests import made, recorded
from tests.conftest import Stack, until

pytestmark = pytest.mark.stack

WHOLE = "count(), sum(sipHash64(formatRow('RowBinary', *)))"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with recorded events of today and of three days ago."""
    stack = Stack(tmp_path_factory.mktemp("backup"))
    stack.ok("up")
    for version, ago in (("2.1.330", 0), ("2.1.281", 3)):
        found = list(recorded.requests("logs", version))
        stack.send(recorded.shifted(found, ago * 86400))
    yield stack
    stack.down()


@pytest.fixture(autouse=True)
def audit_stands_still(filled: Stack) -> None:
    """Else the access log grows every minute, between two backups whose rows are compared."""
    for view in names.ACCESS_KEEPS:
        filled.admin(f"SYSTEM STOP VIEW {names.DATABASE}.{view}")


def backup(stack: Stack, *words: str, **options: Any) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(stack.ok("backup", "--json", *words, **options))
    return report


def send_one(stack: Stack) -> None:
    [(before,)] = stack.member("SELECT count() FROM telemetry_events")
    assert stack.post("logs", made.request(made.log(f"s-{time.time_ns()}"))) == 200
    until(lambda: stack.member("SELECT count() FROM telemetry_events") == [(before + 1,)])


def content(stack: Stack) -> list[Any]:
    """All rows of all tables that are backed up, but for days that are written down anew."""
    tables = (*names.BACKED_UP_BY_DAY, names.SESSION_LABELS)
    return [stack.admin(f"SELECT {WHOLE} FROM {names.DATABASE}.{table}") for table in tables]


def aged(file: Path, days: float) -> Path:
    """A manifest or object as if it had been written so many days ago."""
    then = datetime.now(UTC) - timedelta(days=days)
    os.utime(file, (then.timestamp(), then.timestamp()))
    if file.parent.name == "manifests":
        digest = file.name.partition("-")[2]
        return file.rename(file.with_name(f"{then:%Y%m%dT%H%M%S%fZ}-{digest}"))
    return file


def assert_nothing_idle(stack: Stack, to: Path) -> None:
    """Every object is named by a manifest."""
    key = restore.key(stack.home, None)
    with saving.opened(stack.home, str(to), key) as repository:
        named = [repository.manifest(name).objects for name in repository.manifests()]
        assert set(repository.objects()) == set().union(*named)


def test_every_table_is_in_the_backup_or_said_not_to_be(filled: Stack) -> None:
    tables = filled.admin(
        "SELECT name FROM system.tables WHERE database = {db:String} AND engine NOT IN "
        "('View', 'MaterializedView', 'Null')",
        db=names.DATABASE,
    )
    classes = (
        names.BACKED_UP_BY_DAY,
        names.BACKED_UP_WHOLE,
        names.DERIVED,
        names.NOT_BACKED_UP,
    )
    listed = [table for each in classes for table in each]
    assert sorted(name for (name,) in tables) == sorted(listed)


def test_only_what_changed_is_written_again(filled: Stack, tmp_path: Path) -> None:
    first = backup(filled, "--to", str(tmp_path))
    assert first["written_rows"] == first["rows"] > 0
    objects = set((tmp_path / "objects").iterdir())
    send_one(filled)
    second = backup(filled, "--to", str(tmp_path))
    assert second["rows"] == first["rows"] + 1
    today = datetime.now(UTC).date()
    [(events,)] = filled.admin(
        f"SELECT count() FROM {names.DATABASE}.telemetry_events WHERE toDate(ts) = '{today}'"
    )
    assert events <= second["written_rows"] < second["rows"]
    assert objects < set((tmp_path / "objects").iterdir())


def test_what_another_machine_removes_meanwhile_is_missed(
    filled: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removed(_: Repository, before: datetime) -> tuple[int, int]:
        assert before < datetime.now(UTC)
        next((tmp_path / "objects").iterdir()).unlink()
        return 0, 0

    monkeypatch.setattr(Repository, "prune", removed)
    with pytest.raises(Failure, match="Repeat the command"):
        saving.backup(filled.settings, filled.home, str(tmp_path), encrypt=False)
    assert list((tmp_path / "manifests").iterdir()) == []


def test_what_is_locked_is_not_let_go(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    week = timedelta(days=7)
    repository = Repository(place(str(tmp_path / "place")), None, tmp_path / "work", week)
    (tmp_path / "work" / "rows").write_bytes(b"rows")
    idle = repository.put(tmp_path / "work" / "rows", encrypt=False)
    at = datetime.now(UTC) - timedelta(days=6)
    made = Manifest(
        made_at=at, member="m", schema_file="0001.sql", newest_event=None, keys="", entries=()
    )
    name = repository.write(made, encrypt=False, written=at)
    aged(tmp_path / "place" / idle.name, 6)
    assert set(repository.locked_until()) == {name, idle.name}
    assert repository.prune(datetime.now(UTC)) == (0, 0)
    assert replace(repository, lock=timedelta(days=5)).prune(datetime.now(UTC)) == (1, 1)


def test_the_newest_of_one_second_is_the_newest(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    repository = Repository(place(str(tmp_path / "place")), None, tmp_path / "work")
    second = datetime(2026, 11, 29, 10, 30, 5, tzinfo=UTC)
    written = []
    for number in range(5):
        made = Manifest(
            made_at=second,
            member=f"m-{number}",
            schema_file="0001.sql",
            newest_event=None,
            keys="",
            entries=(),
        )
        at = second + timedelta(milliseconds=number)
        written.append(repository.write(made, encrypt=False, written=at))
    assert list(repository.manifests()) == written
    shown = restore.moment(f"{second:%Y-%m-%d %H:%M:%S}")
    assert shown
    assert written[-1] in [name for name, at in repository.manifests().items() if at <= shown]


def test_a_plain_folder_holds_no_secret(filled: Stack, tmp_path: Path) -> None:
    to = tmp_path / "made" / "for it"
    backup(filled, "--to", str(to))
    secrets = filled.home.secrets()
    kept = (
        secrets.pseudonym_key,
        secrets.admin_password,
        secrets.ingest_password,
        secrets.member_password,
        filled.ok("backup", "--show-key").strip(),
    )
    files = [file for file in to.rglob("*") if file.is_file()]
    assert len(files) > 3
    for file in files:
        assert file.stat().st_mode & 0o077 == 0
        assert not any(secret.encode() in file.read_bytes() for secret in kept)
    assert to.stat().st_mode & 0o077 == 0


def test_an_encrypted_one_shows_nothing_and_opens_with_its_key(
    filled: Stack, tmp_path: Path
) -> None:
    report = backup(filled, "--to", str(tmp_path / "place"), "--encrypt")
    assert report["encrypted"]
    member, key = filled.home.secrets().member, tmp_path / "key"
    for file in (tmp_path / "place").rglob("*-*"):
        assert member.encode() not in file.read_bytes()
        assert file.read_bytes().startswith(b"age-encryption.org/v1")
    key.write_text(f"# a remark\n{filled.ok('backup', '--show-key')}")
    other = Stack(tmp_path / "other")
    done = other.run("restore", "--from", str(tmp_path / "place"), "--dry-run")
    assert done.returncode == 1
    assert "--key FILE" in done.stderr
    key.with_name("wrong").write_text(Key.made())
    wrong = ("--key", str(tmp_path / "wrong"))
    done = other.run("restore", "--from", str(tmp_path / "place"), "--dry-run", *wrong)
    assert done.returncode == 1
    assert "does not open with this key" in done.stderr
    done = other.run("restore", "--from", str(tmp_path / "place"), "--dry-run", "--key", str(key))
    assert done.returncode == 0, done.stderr
    assert f"{report['rows']:,} rows" in done.stderr
    assert not (other.home.secrets_folder / "member").exists(), "a dry run touches nothing"


@pytest.mark.parametrize("damage", ["changed", "cut short", "missing"])
def test_a_damaged_backup_is_refused_before_anything_is_touched(
    filled: Stack, tmp_path: Path, damage: str
) -> None:
    backup(filled, "--to", str(tmp_path))
    largest = max((tmp_path / "objects").iterdir(), key=lambda file: file.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "missing":
        largest.unlink()
    else:
        largest.write_bytes(data if damage == "changed" else data[:-1])
    before = content(filled)
    done = filled.run("restore", "--from", str(tmp_path), "--yes")
    assert done.returncode == 1
    assert largest.name in done.stderr
    assert ("is missing" if damage == "missing" else "is damaged") in done.stderr
    assert content(filled) == before
    if damage != "changed":
        backup(filled, "--to", str(tmp_path))
        assert filled.run("restore", "--from", str(tmp_path), "--dry-run").returncode == 0


def test_a_manifest_that_was_changed_is_refused(filled: Stack, tmp_path: Path) -> None:
    backup(filled, "--to", str(tmp_path))
    [manifest] = (tmp_path / "manifests").iterdir()
    manifest.write_text(manifest.read_text().replace('"rows"', '"rows" '))
    done = filled.run("restore", "--from", str(tmp_path), "--dry-run")
    assert done.returncode == 1
    assert "is damaged" in done.stderr


def test_lapsed_ones_go_with_what_only_they_hold(filled: Stack, tmp_path: Path) -> None:
    first = backup(filled, "--to", str(tmp_path))
    aged(tmp_path / first["manifest"], 22)
    young = tmp_path / "objects" / f"{'0' * 64}"
    young.write_bytes(b"of a backup that is just being made")
    idle = tmp_path / "objects" / f"{'1' * 64}"
    idle.write_bytes(b"of a backup that was interrupted")
    for file in (tmp_path / "objects").iterdir():
        if file != young:
            aged(file, 22)
    send_one(filled)
    second = backup(filled, "--to", str(tmp_path))
    assert second["removed_backups"] == 1
    assert [file.name for file in (tmp_path / "manifests").iterdir()] == [
        Path(second["manifest"]).name
    ]
    assert young.exists()
    assert not idle.exists()
    young.unlink()
    assert_nothing_idle(filled, tmp_path)
    until = f"{datetime.now(UTC) + timedelta(days=21):%Y-%m-%d}"
    held = filled.ok("what-do-you-have", "--me")
    assert f"A backup stays in {tmp_path}, until {until}." in held
    known = [each for each in copies.known(filled.home) if each.place == str(tmp_path)]
    assert [each.kind for each in known] == ["backup"]
    assert known[0].lapses_at == known[0].made_at + timedelta(days=21)


def test_a_tick_lets_lapsed_ones_go_and_makes_one_when_it_is_due(
    own_stack: Stack, tmp_path: Path
) -> None:
    own_stack.change(backup={"everyDays": 1, "to": str(tmp_path / "place")})
    own_stack.ok("up")
    own_stack.ok("tick")
    [manifest] = (tmp_path / "place" / "manifests").iterdir()
    status = json.loads(own_stack.ok("status", "--json"))
    assert status["last_backup_place"] == str(tmp_path / "place")
    assert status["last_backup_hours"] < 1
    own_stack.ok("tick")
    assert list((tmp_path / "place" / "manifests").iterdir()) == [manifest], "not due yet"

    def grown_old(days: float) -> None:
        nonlocal manifest
        manifest = aged(manifest, days)
        then = datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)
        each = copies.Copy("backup", str(tmp_path / "place"), then, then + timedelta(days=21))
        copies.replace(own_stack.home, "backup", str(tmp_path / "place"), [each])

    grown_old(1.1)
    assert json.loads(own_stack.ok("status", "--json"))["problems"] == []
    grown_old(1.5)
    late = own_stack.run("status", "--json")
    assert late.returncode == 1
    assert "a backup is 12 hours overdue" in json.loads(late.stdout)["problems"][0]
    grown_old(22)
    problems = json.loads(own_stack.run("status", "--json").stdout)["problems"]
    assert any("should be gone" in each for each in problems)
    own_stack.change(backup={"everyDays": 0, "to": str(tmp_path / "place")})
    own_stack.ok("tick")
    assert list((tmp_path / "place" / "manifests").iterdir()) == []
    assert json.loads(own_stack.ok("status", "--json"))["last_backup"] == ""


def test_a_disk_that_is_not_connected_is_not_taken_for_an_empty_one(
    filled: Stack, tmp_path: Path
) -> None:
    to = tmp_path / "disk"
    backup(filled, "--to", str(to))
    to.rename(tmp_path / "away")
    done = filled.run("backup", "--to", str(to))
    assert done.returncode == 1
    assert "Connect that disk" in done.stderr
    assert not to.exists()
    assert any(each.place == str(to) for each in copies.known(filled.home))
    assert "Forgot 1" in filled.ok("backup", "--forget", "--to", str(to))
    assert backup(filled, "--to", str(to))["written_rows"] > 0


def test_somebody_elses_place_is_refused(filled: Stack, tmp_path: Path) -> None:
    backup(filled, "--to", str(tmp_path / "place"))
    secret = filled.home.secrets_folder / "member"
    mine = secret.read_text()
    try:
        secret.write_text("m-somebody00")
        done = filled.run("backup", "--to", str(tmp_path / "place"))
        assert done.returncode == 1
        assert "a folder of your own" in done.stderr
        done = filled.run("restore", "--from", str(tmp_path / "place"), "--yes")
        assert done.returncode == 1
        assert "they would be two members" in done.stderr
    finally:
        secret.write_text(mine)


def test_a_restore_adds_what_is_missing_and_asks_first(filled: Stack, tmp_path: Path) -> None:
    backup(filled, "--to", str(tmp_path))
    before = content(filled)
    filled.admin(
        f"ALTER TABLE {names.DATABASE}.telemetry_events DELETE WHERE event = 'api_request' "
        "SETTINGS mutations_sync = 2"
    )
    assert content(filled) != before
    asked = filled.run("restore", "--from", str(tmp_path))
    assert asked.returncode == 2
    assert "Rows that are here stay" in asked.stderr
    assert content(filled) != before
    report = json.loads(filled.ok("restore", "--from", str(tmp_path), "--yes", "--json"))
    assert content(filled) == before
    assert 0 < report["restored_rows"] < report["restored_rows"] + report["present_rows"]
    assert filled.member("SELECT sum(cost_usd) FROM usage_daily") == filled.member(
        "SELECT sum(cost_usd) FROM usage_daily_now"
    )


def test_an_interrupted_restore_goes_on_where_it_was(
    filled: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(filled, "--to", str(tmp_path))
    before = content(filled)
    for table in (*names.BACKED_UP_BY_DAY, *names.BACKED_UP_WHOLE):
        filled.admin(f"TRUNCATE TABLE {names.DATABASE}.{table}")
    real = parquet.insert
    sent: list[Any] = []

    def interrupted(*given: Any) -> None:
        if len(sent) == 2:
            raise KeyboardInterrupt
        sent.append(given)
        real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "insert", interrupted)
        chosen = (filled.settings, filled.home, str(tmp_path), None, None)
        with pytest.raises(KeyboardInterrupt), restore.planned(*chosen) as plan:
            restore.restore(plan)
    assert content(filled) != before
    report = json.loads(filled.ok("restore", "--from", str(tmp_path), "--yes", "--json"))
    assert content(filled) == before
    assert report["present_rows"] > 0, "what was there was not sent again"


def test_a_day_of_many_files_comes_back_equal(
    filled: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_FILE_BYTES", 100_000)
    made = saving.backup(filled.settings, filled.home, str(tmp_path), encrypt=False)
    again = saving.backup(filled.settings, filled.home, str(tmp_path), encrypt=False)
    with saving.opened(filled.home, str(tmp_path), None) as repository:
        first, second = (repository.manifest(each.manifest).entries for each in (made, again))
    most = max(
        (entry for entry in first if entry.table == names.EVENTS), key=lambda each: each.rows
    )
    assert len(most.objects) > 2
    assert most in second, "it need not be written again"
    before = content(filled)
    for table in names.BACKED_UP_BY_DAY:
        filled.admin(f"TRUNCATE TABLE {names.DATABASE}.{table}")
    filled.ok("restore", "--from", str(tmp_path), "--yes")
    assert content(filled) == before
    removed = rewrite.rewrite(
        filled.settings, filled.home, str(tmp_path), {names.EVENTS: "event = 'api_request'"}, {}
    )
    [(rows,)] = filled.admin(
        f"SELECT count() FROM {names.DATABASE}.{names.EVENTS} WHERE event = 'api_request'"
    )
    assert sum(each.rows for each in removed) == rows > 0


def test_days_that_retention_would_delete_are_left_out_and_counted(
    filled: Stack, tmp_path: Path
) -> None:
    backup(filled, "--to", str(tmp_path))
    old = datetime.now(UTC).date() - timedelta(days=3)
    [(rows,)] = filled.admin(
        f"SELECT count() FROM {names.DATABASE}.telemetry_events WHERE toDate(ts) = '{old}'"
    )
    was = filled.settings.model_dump(by_alias=True, exclude_defaults=True)
    filled.change(retention={"eventsDays": 2})
    try:
        done = filled.run("restore", "--from", str(tmp_path), "--dry-run")
        assert f"{rows} rows are left out: retention would delete them" in done.stderr
    finally:
        filled.configure(was)


@pytest.mark.parametrize("encrypt", [(), ("--encrypt",)], ids=["plain", "encrypted"])
def test_rows_are_taken_out_of_all_backups_of_a_place(
    filled: Stack, tmp_path: Path, encrypt: tuple[str, ...]
) -> None:
    send_one(filled)
    backup(filled, "--to", str(tmp_path), *encrypt)
    send_one(filled)
    backup(filled, "--to", str(tmp_path), *encrypt)
    [(session, rows)] = filled.member(
        "SELECT session_id, count() FROM telemetry_events GROUP BY session_id "
        "ORDER BY 2 DESC LIMIT 1"
    )
    of_session = "session_id = {session:String}"
    conditions = dict.fromkeys((*names.BACKED_UP_BY_DAY, names.SESSION_LABELS), of_session)
    arguments = (filled.settings, filled.home, str(tmp_path), conditions, {"session": session})
    old = set(tmp_path.glob("objects/*"))
    written = [each.made_at for each in copies.known(filled.home)]
    removed = rewrite.rewrite(*arguments)
    events = [each.rows for each in removed if each.table == names.EVENTS]
    assert sum(events) >= rows
    assert not old <= set(tmp_path.glob("objects/*")), "what held them is gone"
    assert [each.made_at for each in copies.known(filled.home)] == written
    assert rewrite.rewrite(*arguments) == []
    assert_nothing_idle(filled, tmp_path)
    for at in json.loads(filled.ok("restore", "--from", str(tmp_path), "--list", "--json")):
        words = ("restore", "--from", str(tmp_path), "--as-of", at, "--dry-run")
        assert filled.run(*words).returncode == 0
    kept = content(filled)
    [(whole,)] = filled.admin(f"SELECT count() FROM {names.DATABASE}.telemetry_events")
    for table in names.BACKED_UP_BY_DAY:
        filled.admin(f"TRUNCATE TABLE {names.DATABASE}.{table}")
    filled.ok("restore", "--from", str(tmp_path), "--yes")
    [(left,)] = filled.admin(f"SELECT count() FROM {names.DATABASE}.telemetry_events")
    assert left == whole - rows
    still = f"SELECT count() FROM {names.DATABASE}.telemetry_events WHERE session_id = '{session}'"
    assert filled.admin(still) == [(0,)]
    assert content(filled) != kept
    rewritten = {each.name for each in tmp_path.glob("objects/*")}
    made = backup(filled, "--to", str(tmp_path), *encrypt)
    key = restore.key(filled.home, None)
    with saving.opened(filled.home, str(tmp_path), key) as repository:
        entries = repository.manifest(str(made["manifest"])).entries
    kinds = [each for each in entries if each.table == names.EVENTS]
    assert sum(each.rows for each in kinds) == left
    needed = {Path(each.name).name for entry in kinds for each in entry.objects}
    assert needed <= rewritten, "what was rewritten need not be written again"
    assert rewrite.drop(filled.settings, filled.home, str(tmp_path)) == 3
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_without_the_key_rows_of_a_plain_folder_come_back_and_the_rest_is_said(
    filled: Stack, tmp_path: Path
) -> None:
    backup(filled, "--to", str(tmp_path / "place"))
    then = content(filled)
    other = Stack(tmp_path / "other")
    try:
        done = other.run("restore", "--from", str(tmp_path / "place"))
        assert done.returncode == 0, done.stderr
        assert "The pseudonym key does not come along" in done.stderr
        assert content(other) == then
        assert other.member("SELECT count() FROM telemetry_events") == filled.member(
            "SELECT count() FROM telemetry_events"
        )
        assert other.home.secrets().pseudonym_key != filled.home.secrets().pseudonym_key
    finally:
        other.down()


def test_a_machine_that_was_just_set_up_asks_and_becomes_the_one_that_was_backed_up(
    filled: Stack, tmp_path: Path
) -> None:
    backup(filled, "--to", str(tmp_path / "place"))
    then, key = content(filled), tmp_path / "key"
    key.write_text(filled.ok("backup", "--show-key"))
    other = Stack(tmp_path / "other")
    other.ok("up")
    try:
        was, words = other.home.secrets(), ("restore", "--from", str(tmp_path / "place"))
        asked = other.run(*words, "--key", str(key))
        assert asked.returncode == 2
        assert f"becomes {filled.home.secrets().member}, no longer {was.member}" in asked.stderr
        assert other.home.secrets() == was
        other.ok(*words, "--key", str(key), "--yes")
        assert content(other) == then
        assert other.home.secrets().pseudonym_key == filled.home.secrets().pseudonym_key
        send_one(other)  # what comes now is that member's too
        assert json.loads(other.ok("status", "--json"))["problems"] == []
    finally:
        other.down()


def test_no_room_is_said_and_what_was_there_stays_good(filled: Stack, tmp_path: Path) -> None:
    to = tmp_path / "place"
    backup(filled, "--to", str(to))
    shutil.rmtree(to / "objects")
    (to / "objects").write_text("a file in the way")
    done = filled.run("backup", "--to", str(to))
    assert done.returncode == 1
    assert "name another place" in done.stderr
    assert len(list((to / "manifests").iterdir())) == 1


def test_a_deletion_leaves_backups_and_names_them(own_stack: Stack, tmp_path: Path) -> None:
    own_stack.ok("up")
    send_one(own_stack)
    backup(own_stack)
    backup(own_stack, "--to", str(tmp_path / "place"))
    done = own_stack.run("down", "--delete-data", "--yes")
    for where in (own_stack.home.backups, tmp_path / "place"):
        assert f"A backup stays in {where}, until" in done.stderr
    own_stack.ok("up")
    own_stack.ok("restore")
    assert own_stack.member("SELECT count() FROM telemetry_events") == [(1,)]


def test_a_backup_needs_clickhouse_and_says_so(own_stack: Stack) -> None:
    done = own_stack.run("backup")
    assert done.returncode == 1
    assert "telemetry up" in done.stderr


@pytest.fixture
def bucket() -> Iterator[dict[str, str]]:
    """A bucket of S3 as moto imitates it: no S3, and it checks no signature."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    assert urllib3.request("PUT", f"{endpoint}/bucket").status == 200
    yield {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "id-of-a-test",
        "AWS_SECRET_ACCESS_KEY": "secret-of-a-test",
        "AWS_REGION": "us-east-1",
    }
    server.stop()


def test_a_bucket_is_always_encrypted_and_restored_from(
    filled: Stack, bucket: dict[str, str], tmp_path: Path
) -> None:
    to = ("--to", "s3://bucket/backups/mine")
    first = backup(filled, *to, env=bucket)
    assert first["encrypted"]
    assert backup(filled, *to, env=bucket)["written_rows"] == 0
    listed = urllib3.request("GET", f"{bucket['AWS_ENDPOINT_URL']}/bucket").data.decode()
    keys = [part.partition("</Key>")[0] for part in listed.split("<Key>")[1:]]
    assert len(keys) > 4
    assert all(key.startswith("backups/mine/") and key.endswith(".age") for key in keys)
    key = tmp_path / "key"
    key.write_text(filled.ok("backup", "--show-key"))
    then = content(filled)
    other = Stack(tmp_path / "other")
    try:
        words = ("restore", "--from", "s3://bucket/backups/mine", "--key", str(key), "--json")
        report = json.loads(other.ok(*words, env=bucket))
        assert report["restored_rows"] == first["rows"]
        assert content(other) == then
        assert other.home.secrets().pseudonym_key == filled.home.secrets().pseudonym_key
    finally:
        other.down()
    done = filled.run("backup", "--to", "s3://nowhere/x", env=bucket)
    assert done.returncode == 1
    assert "credentials" in done.stderr


def test_a_place_or_a_time_that_is_none_is_refused() -> None:
    for to in ("ftp://host/folder", str(Path(__file__).parent)):
        with pytest.raises(Misuse):
            place(to)
    with pytest.raises(Misuse, match="is no time"):
        restore.moment("yesterday")
    assert restore.moment("2026-11-29") == datetime(2026, 11, 29, 23, 59, 59, 999999, tzinfo=UTC)
    assert restore.moment("2026-11-29T10:30") == datetime(2026, 11, 29, 10, 30, 0, 999999, UTC)
    assert restore.moment("2026-11-29T10:30+01:00") == datetime(2026, 11, 29, 9, 30, 0, 999999, UTC)
    for text in ("", "age1public", "AGE-SECRET-KEY-1SHORT"):
        with pytest.raises(Failure, match="no key of a backup"):
            Key.read(text)
