"""`telemetry backup`, `restore`, `cleanup`, `purge` and `status` with `--on cloud`.

The real command, the real ClickHouse behind a stand-in for the tunnel, and the real client of Cloud
Storage."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra import identity
from infra.collector.purge import purge_hash
from infra.edge import caddy
from infra.settings import Settings
from infra.warehouse import migrations, names
from scripts import certificates, endpoint_status, toolchain
from scripts.prepare_tests import CADDY
from scripts.repository import Key, Repository, place
from tests.cloud import bucket as storage
from tests.cloud.bucket import Bucket
from tests.cloud.conftest import NAMES, Desk, another, new_desk
from tests.cloud.edge import Edge
from tests.shared import Store

pytestmark = pytest.mark.stack

ANNA, BERT = "m-annaaaaaaa", "m-bertbertbe"
TODAY = datetime.now(UTC).date()
ON = ("--on", "cloud")


@dataclass
class Endpoint:
    """A shared endpoint, and where it is administered."""

    desk: Desk
    store: Store
    bucket: Bucket

    def run(self, *words: str, desk: Desk | None = None) -> Any:
        return (desk or self.desk).run(*words, *ON, **self.bucket.environment)

    def ok(self, *words: str, desk: Desk | None = None) -> str:
        done = self.run(*words, desk=desk)
        assert done.returncode == 0, f"telemetry {words}: {done.stdout}\n{done.stderr}"
        return str(done.stdout)

    def data(self, *words: str, desk: Desk | None = None) -> Any:
        return json.loads(self.ok(*words, "--json", desk=desk))

    @property
    def kept(self) -> Path:
        """What the administrator's machine keeps of it."""
        return self.desk.home.path / "shared" / "cloud"

    def keys(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.desk.newest("keys").splitlines())

    def lead(self) -> None:
        """The tunnel leads to the store, which has the keys and members of Secret Manager."""
        self.store.stop()
        keys = self.keys()
        self.store.secrets = replace(self.store.secrets, **keys)
        self.store.logins = identity.parse(self.desk.newest("members-1"))
        self.store.start()
        (self.desk.gcloud / "tunnel").write_text(str(self.store.settings.ports.clickhouse_http))

    def events(self, member: str) -> int:
        [[rows]] = self.store.admin(
            "SELECT count() FROM telemetry.telemetry_events WHERE member = {member:String}",
            member=member,
        )
        return int(rows)


def event(member: str, number: int, day: date = TODAY) -> dict[str, Any]:
    return {
        "ts": f"{day} 00:00:{number:02}.000",
        "event": "tool_result",
        "member": member,
        "session_id": f"session-{member}",
        "seq": number,
        "tool_name": "Bash",
        "success": True,
        "duration_ms": 100,
    }


def new_endpoint(folder: Path, bucket: Bucket) -> Endpoint:
    """It has keys and one login."""
    folder.mkdir(exist_ok=True)
    desk = new_desk(folder / "desk")
    desk.configure(identity={"lists": 1}, cloud={"backupLockDays": 7, "snapshotDays": 10})
    return Endpoint(desk, Store(folder / "vm", toolchain.programs(Settings()), ()), bucket)


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with storage.served(NAMES.backup_bucket) as found:
        yield found


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    made = new_endpoint(tmp_path_factory.mktemp("endpoint"), Bucket("none yet"))
    try:
        made.desk.ok("member", "add", "anna", *ON)
        made.lead()
        yield made
    finally:
        made.store.stop()


@pytest.fixture
def endpoint(started: Endpoint, bucket: Bucket) -> Endpoint:
    """With ten events of Anna and five of Bert, and no backup yet."""
    started.bucket = bucket
    for table in (*names.OWN_EVENTS, names.SUPPRESSIONS, names.PURGE_REQUESTS, names.DELETIONS):
        started.store.admin(f"TRUNCATE TABLE telemetry.{table}")
    (started.kept / "copies.json").unlink(missing_ok=True)
    started.store.insert(
        names.EVENTS,
        [event(ANNA, n, TODAY - timedelta(days=n % 2)) for n in range(10)]
        + [event(BERT, n) for n in range(5)],
    )
    started.store.refresh()
    return started


def no_secret_lies_about(endpoint: Endpoint) -> None:
    """Of the endpoint's own secrets none is in a file of the administrator, or was in an argument
    or the environment of `gcloud`."""
    kept = [*endpoint.keys().values(), endpoint.desk.newest("edge").split("PRIVATE KEY-----")[1]]
    called = json.dumps(endpoint.desk.calls())
    files = [file for file in endpoint.desk.home.path.rglob("*") if file.is_file()]
    assert files
    for secret in kept:
        assert secret not in called
        for file in files:
            assert secret.encode() not in file.read_bytes(), file


def test_a_backup_goes_to_the_bucket_encrypted_and_what_was_deleted_comes_back(
    endpoint: Endpoint,
) -> None:
    made = endpoint.data("backup")
    assert made["place"] == f"gs://{NAMES.backup_bucket}/backups"
    assert made["encrypted"]
    assert made["rows"] >= 15
    assert all(name.startswith("backups/") and name.endswith(".age")
               for name in endpoint.bucket.objects)  # fmt: skip
    assert stat.S_IMODE((endpoint.kept / "secrets" / "backup-key").stat().st_mode) == 0o600
    assert stat.S_IMODE(endpoint.kept.stat().st_mode) == 0o700
    no_secret_lies_about(endpoint)
    endpoint.store.admin(f"TRUNCATE TABLE telemetry.{names.EVENTS}")
    tried = endpoint.run("restore", "--dry-run")
    assert (tried.returncode, endpoint.events(ANNA)) == (0, 0), tried.stderr
    assert endpoint.data("restore", "--yes")["restored_rows"] >= 15
    assert (endpoint.events(ANNA), endpoint.events(BERT)) == (10, 5)
    assert len(json.loads(endpoint.ok("restore", "--list", "--json"))) == 1
    no_secret_lies_about(endpoint)


def test_it_asks_before_it_adds_to_rows(endpoint: Endpoint) -> None:
    endpoint.ok("backup")
    done = endpoint.run("restore")
    assert (done.returncode, "--yes" in done.stderr) == (2, True), done.stderr


def test_another_administrator_needs_the_key_once(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.ok("backup")
    other, key = another(endpoint.desk, tmp_path / "other"), tmp_path / "key"
    done = endpoint.run("backup", desk=other)
    assert (done.returncode, "does not open with this key" in done.stderr) == (1, True)
    key.write_text(endpoint.ok("backup", "--show-key"))
    done = endpoint.run("backup", "--key", str(key), desk=other)
    assert (done.returncode, "another key here" in done.stderr) == (1, True), done.stderr
    third = another(endpoint.desk, tmp_path / "third")
    made = endpoint.data("backup", "--key", str(key), desk=third)
    assert made["written_rows"] < made["rows"], "it goes on where the first left off"


def test_a_text_is_encrypted_before_it_reaches_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    written: list[bytes] = []
    write_bytes = Path.write_bytes

    def watched(self: Path, data: bytes) -> int:
        written.append(data)
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", watched)
    monkeypatch.setattr(Path, "write_text", lambda *_: pytest.fail("a text was written"))
    repository = Repository(place(str(tmp_path / "to")), Key(Key.made()), tmp_path / "work")
    made = repository.put_secret("the text")
    assert written
    assert [each for each in written if b"the text" in each] == []
    assert repository.secret(made.name) == "the text"
    for file in (each for each in tmp_path.rglob("*") if each.is_file()):
        assert file.read_bytes().startswith(b"age-encryption.org/v1")


def test_an_endpoint_that_is_lost_comes_back_in_another_stack(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.ok("backup")
    key = tmp_path / "key"
    key.write_text(endpoint.ok("backup", "--show-key"))
    before, members = endpoint.keys(), endpoint.desk.newest("members-1")
    fresh = new_endpoint(tmp_path / "fresh", endpoint.bucket)
    words = ("restore", "--key", str(key), "--yes")
    done = fresh.run(*words)
    assert (done.returncode, "the rows are not yet" in done.stderr) == (1, True), done.stderr
    after = fresh.keys()
    assert after["pseudonym_key"] == before["pseudonym_key"]
    assert after["admin_password"] != before["admin_password"]
    assert fresh.desk.newest("members-1") == members
    assert fresh.desk.newest("edge") == endpoint.desk.newest("edge")
    try:
        fresh.lead()
        assert json.loads(fresh.ok(*words, "--json"))["restored_rows"] >= 15
        assert (fresh.events(ANNA), fresh.events(BERT)) == (10, 5)
        no_secret_lies_about(fresh)
        made = fresh.data("backup")
        assert made["written_rows"] < made["rows"], "it is the same installation"
    finally:
        fresh.store.stop()


def test_secrets_that_were_lost_come_back_and_what_is_there_stays(
    endpoint: Endpoint,
) -> None:
    desk, lost = endpoint.desk, ("keys", "edge", "members-1")
    endpoint.ok("backup")
    before = {which: desk.newest(which) for which in lost}
    folders = {which: desk.gcloud / "secrets" / NAMES.secret(which) for which in lost}
    (folders["edge"] / "7.ENABLED").write_text("\n")
    done = endpoint.run("restore", "--yes")
    assert (done.returncode, "Wait two minutes" in done.stderr) == (1, True), done.stderr
    assert {which: desk.newest(which) for which in lost} == before
    for which in ("keys", "members-1"):
        for file in folders[which].iterdir():
            file.unlink()
    done = endpoint.run("restore", "--yes")
    assert (done.returncode, "Wait two minutes" in done.stderr) == (1, True), done.stderr
    assert desk.newest("members-1") == before["members-1"]
    assert endpoint.keys()["pseudonym_key"] in before["keys"]
    assert endpoint.keys()["admin_password"] not in before["keys"]
    endpoint.lead()
    assert json.loads(endpoint.ok("restore", "--yes", "--json"))["present_rows"] >= 15
    assert endpoint.events(ANNA) == 10


def test_an_endpoint_with_rows_and_other_keys_is_not_mixed_with_it(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.ok("backup")
    key = tmp_path / "key"
    key.write_text(endpoint.ok("backup", "--show-key"))
    other = new_endpoint(tmp_path / "another", endpoint.bucket)
    other.desk.ok("member", "add", "cora", *ON)
    try:
        other.lead()
        other.store.insert(names.EVENTS, [event(ANNA, 1)])
        keys = other.keys()
        done = other.run("restore", "--key", str(key), "--yes")
        assert (done.returncode, "they would be two" in done.stderr) == (1, True), done.stderr
        assert other.keys() == keys
    finally:
        other.store.stop()


def test_what_is_of_a_machine_is_not_of_an_endpoint(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.ok("backup", "--to", str(tmp_path / "place"))
    key = tmp_path / "key"
    key.write_text(endpoint.ok("backup", "--show-key"))
    done = endpoint.desk.run("restore", "--from", str(tmp_path / "place"), "--key", str(key))
    assert (done.returncode, "restored with --on" in done.stderr) == (1, True), done.stderr


def test_a_cleanup_deletes_what_is_too_old_and_says_what_it_does_not_reach(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoint.store.admin("SYSTEM STOP TTL MERGES telemetry.telemetry_events")
    old = TODAY - timedelta(days=95)
    endpoint.store.insert(names.EVENTS, [event(BERT, n, old) for n in range(3)])
    tried = endpoint.run("cleanup", "--dry-run", "--json")
    assert tried.returncode == 0, tried.stderr
    assert [each["rows"] for each in json.loads(tried.stdout)["due"]] == [3]
    done = endpoint.run("cleanup", "--archive", str(tmp_path / "archive"), "--yes")
    assert done.returncode == 0, done.stderr
    assert "Records that the collector set aside" in done.stderr
    assert "Archived 3 rows" in done.stdout
    assert endpoint.events(BERT) == 5


def test_a_purge_waits_for_the_lock_and_says_so(endpoint: Endpoint) -> None:
    bucket = endpoint.bucket
    endpoint.ok("backup")
    bucket.lock = timedelta(days=7)
    tried = endpoint.run("purge", "--member", ANNA, "--dry-run")
    assert tried.returncode == 0, tried.stderr
    for told in ("10 rows in telemetry.telemetry_events", "the collector's queue", "set aside",
                 "snapshots of the disk: each goes 10 days"):  # fmt: skip
        assert told in tried.stderr
    assert endpoint.events(ANNA) == 10
    done = endpoint.run("purge", "--member", ANNA, "--yes", "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert "is locked" in done.stderr
    assert f"Request {found['number']} stays open" in done.stderr
    assert found["again_at"][:10] == f"{TODAY + timedelta(days=7)}"
    assert [each["locked_until"][:10] for each in found["copies"]] == [found["again_at"][:10]]
    assert (endpoint.events(ANNA), endpoint.events(BERT), bucket.refused) == (0, 5, [])
    assert not found["evidence"]
    assert not list((endpoint.kept / "evidence").glob("purge-*"))
    requests = f"SELECT id, member FROM telemetry.{names.PURGE_REQUESTS} FINAL"
    assert endpoint.store.admin(requests) == [[found["number"], ANNA]]
    hashed = purge_hash(endpoint.keys()["pseudonym_key"], ANNA)
    assert endpoint.store.admin("SELECT hash FROM telemetry.suppressions FINAL") == [[hashed]]
    # A backup made since has nothing of hers, and is locked for another week.
    bucket.age(8)
    endpoint.ok("backup")
    done = endpoint.run("purge", "--member", ANNA, "--yes", "--json")
    again = json.loads(done.stdout)
    assert "stay until" not in done.stderr, done.stderr
    assert (again["number"], again["again_at"], again["copies"]) == (found["number"], "", [])
    assert bucket.refused == []
    assert endpoint.store.admin(requests) == [[found["number"], ""]]
    evidence = endpoint.desk.data("purge", "--verify", again["evidence"])
    assert "snapshots of the disk" in evidence["left_to_lapse"][-1]
    assert ANNA not in Path(again["evidence"]).read_text()
    # Nothing of hers is in any backup, even where nobody keeps her out.
    for table in (names.SUPPRESSIONS, names.EVENTS):
        endpoint.store.admin(f"TRUNCATE TABLE telemetry.{table}")
    times = json.loads(endpoint.ok("restore", "--list", "--json"))
    assert len(times) == 2
    endpoint.ok("restore", "--as-of", times[0], "--yes")
    assert (endpoint.events(ANNA), endpoint.events(BERT)) == (0, 5)
    no_secret_lies_about(endpoint)


def test_a_purge_finds_backups_that_another_administrator_made(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    endpoint.ok("backup")
    key.write_text(endpoint.ok("backup", "--show-key"))
    other = another(endpoint.desk, tmp_path / "other")
    endpoint.ok("backup", "--key", str(key), desk=other)
    (endpoint.kept / "copies.json").unlink()
    endpoint.bucket.age(8)
    before = set(endpoint.bucket.objects)
    assert endpoint.data("purge", "--session", f"session-{BERT}", "--yes")["again_at"] == ""
    assert (endpoint.events(ANNA), endpoint.events(BERT)) == (10, 0)
    assert not before & {name for name in endpoint.bucket.objects if "/manifests/" in name}


def test_a_purge_of_a_bucket_that_cannot_be_looked_at_begins_nothing(endpoint: Endpoint) -> None:
    done = endpoint.desk.run("purge", "--member", ANNA, "--yes", *ON,
                             GOOGLE_SERVICE_ACCOUNT_KEY="{}")  # fmt: skip
    assert (done.returncode, "cannot be looked at" in done.stderr) == (1, True), done.stderr
    assert endpoint.events(ANNA) == 10
    assert endpoint.store.admin("SELECT count() FROM telemetry.suppressions") == [["0"]]


def test_a_request_is_noted_and_is_a_problem_from_its_21st_day_on(endpoint: Endpoint) -> None:
    assert endpoint.data("purge", "--member", ANNA, "--request")["number"]
    done = endpoint.run("purge", "--member", "me", "--request")
    assert (done.returncode, "member accept" in done.stderr) == (1, True)
    endpoint.store.insert(
        names.PURGE_REQUESTS,
        [{"id": "0123", "member": BERT, "requested_at": f"{TODAY - timedelta(days=22)} 00:00:00"}],
    )
    seen = json.loads(endpoint.run("status", "--json").stdout)
    [late] = [each for each in seen["problems"] if "purge" in each]
    assert ("22 days ago (0123)" in late, "--on cloud" in late) == (True, True)


def test_the_status_of_an_endpoint(endpoint: Endpoint) -> None:
    endpoint.ok("backup")
    done = endpoint.run("status", "--json")
    seen = json.loads(done.stdout)
    assert (seen["events"], seen["last_event"][:10]) == (15, str(TODAY))
    assert seen["members"] == {"member": 1}
    assert seen["schema"] == seen["schema_here"] == migrations.migrations()[-1].name
    assert seen["stored_bytes"] > 0
    assert seen["last_backup"][:10] == str(TODAY)
    assert seen["authority_until"] > str(TODAY + timedelta(days=3600))
    # Nothing of ours answers at the address of the stand-in for `gcloud`.
    assert (done.returncode, seen["edge_answers"], seen["well"]) == (1, False, False)
    assert ["203.0.113.7" in each for each in seen["problems"]] == [True]
    shown = endpoint.run("status").stdout
    assert "Events stored         15" in shown
    assert "Edge                  does not answer" in shown
    assert "Problem: " in shown
    no_secret_lies_about(endpoint)


def test_a_schema_of_another_version_is_a_problem(endpoint: Endpoint) -> None:
    table = f"telemetry.{names.MIGRATIONS}"
    endpoint.store.insert(names.MIGRATIONS, [{"name": "9999_later.sql", "checksum": "x"}])
    try:
        seen = json.loads(endpoint.run("status", "--json").stdout)
        assert [each for each in seen["problems"] if "this clone is older" in each]
    finally:
        endpoint.store.admin(
            f"ALTER TABLE {table} DELETE WHERE name = '9999_later.sql' SETTINGS mutations_sync = 2"
        )


@pytest.mark.skipif(not CADDY.exists(), reason="Caddy is not built: `make test` builds it")
@pytest.mark.parametrize("client_certificates", [False, True])
def test_the_edge_is_asked_as_anybody_would(tmp_path: Path, client_certificates: bool) -> None:
    settings = Settings.model_validate({"edge": {"clientCertificates": client_certificates}})
    folder = tmp_path / "edge"
    folder.mkdir()
    running = Edge(folder, settings)
    authority = certificates.authority("Clients", below=0)
    (running.secrets / caddy.CLIENT_CA).write_text(authority.certificate)
    try:
        running.start()

        def seen(own: str = running.ca.certificate) -> endpoint_status.Edge:
            return endpoint_status.at_edge(
                "127.0.0.1", running.port, own=own, client_certificates=client_certificates
            )

        found = seen()
        assert (found.answers, found.problems) == (True, ())
        assert found.certificate_until > f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
        running.behind["health"].status = 503
        assert seen().answers is client_certificates, "without a certificate it is not asked"
        other = certificates.authority("Another", below=None).certificate
        assert "not to be trusted" in seen(other).problems[0]
    finally:
        running.stop()
    assert "does not answer" in seen().problems[0]


def test_without_keys_and_of_another_stack_nothing_is_begun(desk: Desk) -> None:
    for words in (("backup",), ("cleanup", "--yes"), ("purge", "--member", ANNA, "--yes")):
        done = desk.run(*words, *ON)
        assert (done.returncode, "telemetry member keys --on cloud" in done.stderr) == (1, True)
        assert desk.run(*words, "--on", "local").returncode == 2
    assert desk.run("status", "--on", "local").returncode == 2
