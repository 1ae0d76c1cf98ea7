"""`telemetry member --on cloud`, with secrets kept as Secret Manager keeps them."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import time
from pathlib import Path

import bcrypt
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from infra import identity
from infra.settings import validated
from scripts import certificates, cloud
from tests.cloud.conftest import NAMES, Desk, another


def logins(desk: Desk) -> dict[str, identity.Login]:
    """Everybody on the lists, by id."""
    texts = [desk.newest(f"members-{n}") for n in (1, 2) if desk.versions(f"members-{n}")]
    return {each.id: each for text in texts for each in identity.parse(text)}


def lets_in(given: dict[str, str], login: identity.Login) -> tuple[bool, bool]:
    """Whether these credentials hold: for queries, for ingest."""
    now = int(time.time())
    asked = hashlib.sha256(given.get("query_password", "").encode()).hexdigest()
    accounts = dict(line.split(":", 1) for line in identity.htpasswd([login], now).splitlines())
    hashed = accounts.get(given.get("ingest_login", ""), "")
    sent = given.get("ingest_password", "").encode()
    return (
        any(one.value == asked and one.holds(now) for one in login.query),
        bool(hashed) and bcrypt.checkpw(sent, hashed.encode()),
    )


def test_a_member_is_given_credentials_once_and_hashes_are_kept(desk: Desk) -> None:
    given = desk.member("add", "Anna", "--team", "lighthouse")
    assert (given["stack"], given["role"], given["team"]) == ("cloud", "member", "lighthouse")
    assert given["ingest"] == "https://203.0.113.7"
    assert given["query"] == "https://203.0.113.7/query"
    assert given["ingest_login"] == f"{given['id']}+lighthouse"
    assert lets_in(given, logins(desk)[given["id"]]) == (True, True)
    for kept in (desk.newest("members-1"), *map(str, desk.calls())):
        assert given["query_password"] not in kept
        assert given["ingest_password"] not in kept
        assert "Anna" not in kept
    assert "Anna" in (desk.home.secrets_folder / "directory.json").read_text()


def test_no_secret_is_on_a_command_line_or_in_an_environment(desk: Desk) -> None:
    desk.configure(edge={"clientCertificates": True})
    given = desk.member("add", "Anna")
    desk.member("rotate", "Anna")
    desk.ok("member", "keys", "--rotate", "admin", "--on", "cloud")
    texts = [text for which in ("keys", "edge", "client-ca") for text in
             desk.versions(which).values()]  # fmt: skip
    secret = {line for text in texts for line in text.splitlines()
              if len(line) > 20 and "-----" not in line}  # fmt: skip
    secret |= {line.partition("=")[2] for line in secret if line.startswith(("admin", "ingest"))}
    secret |= {given["query_password"], given["ingest_password"]}
    assert len(secret) > 10
    for call in desk.calls():
        seen = str(call["argv"]) + str(call["environment"])
        assert [each for each in secret if each and each in seen] == []
        assert call["environment"]["CLOUDSDK_CORE_DISABLE_FILE_LOGGING"] == "1"


def test_coordinators_and_auditors_cannot_send(desk: Desk) -> None:
    for name, role in (("Cora", "coordinator"), ("Otto", "auditor")):
        given = desk.member("add", name, "--role", role)
        assert "ingest_login" not in given
        assert "ingest" not in given
        assert lets_in(given, logins(desk)[given["id"]]) == (True, False)
        done = desk.run("member", "rotate", name, "--ingest", "--on", "cloud")
        assert (done.returncode, "does not send" in done.stderr) == (2, True)
        fresh = desk.member("rotate", name)
        assert lets_in(fresh, logins(desk)[given["id"]]) == (True, False)


def test_at_a_rotation_both_hold_and_a_third_is_refused(desk: Desk) -> None:
    first = desk.member("add", "Anna")
    second = desk.member("rotate", "Anna", "--overlap", "1h")
    login = logins(desk)[first["id"]]
    assert second["ingest_login"] == f"{first['id']}.2"
    assert lets_in(first, login) == lets_in(second, login) == (True, True)
    [shown] = desk.member("list")
    assert [end is None for end in shown["query"]] == [True, False]

    refused = desk.run("member", "rotate", "Anna", "--on", "cloud")
    assert (refused.returncode, "--overlap 0" in refused.stderr) == (1, True)
    assert logins(desk)[first["id"]] == login

    third = desk.member("rotate", "Anna", "--overlap", "0")
    login = logins(desk)[first["id"]]
    assert third["ingest_login"] == first["id"]
    assert lets_in(third, login) == (True, True)
    assert lets_in(first, login) == lets_in(second, login) == (False, False)


def test_one_kind_of_credential_can_be_rotated_alone(desk: Desk) -> None:
    first = desk.member("add", "Anna")
    asks = desk.member("rotate", "Anna", "--query", "--overlap", "0")
    assert "ingest_password" not in asks
    assert lets_in(first, logins(desk)[first["id"]]) == (False, True)
    sends = desk.member("rotate", "Anna", "--ingest", "--overlap", "0")
    assert "query_password" not in sends
    assert lets_in({**asks, **sends}, logins(desk)[first["id"]]) == (True, True)


def test_a_member_moves_to_another_team_with_another_login_to_send(desk: Desk) -> None:
    first = desk.member("add", "Anna", "--team", "a")
    moved = desk.member("rotate", "Anna", "--query", "--team", "b")
    assert moved["ingest_login"] == f"{first['id']}.2+b"
    login = logins(desk)[first["id"]]
    assert lets_in(moved, login) == (True, True)
    assert lets_in(first, login) == (True, False)


def test_revoking_ends_everything_and_can_be_repeated(desk: Desk) -> None:
    desk.configure(edge={"clientCertificates": True})
    anna, bert = desk.member("add", "Anna"), desk.member("add", "Bert")
    unasked = desk.run("member", "revoke", "Anna", "--on", "cloud")
    assert unasked.returncode == 2
    assert anna["id"] in logins(desk)
    assert "Revoked" in desk.ok("member", "revoke", "Anna", "--yes", "--on", "cloud")
    assert set(logins(desk)) == {bert["id"]}
    left = certificates.split(desk.newest("client-certificates"))
    assert [certificates.member(each) for each in left] == ["", bert["id"]]
    again = desk.ok("member", "revoke", anna["id"], "--yes", "--on", "cloud")
    assert "nothing was changed" in again
    assert desk.run("member", "revoke", "Nobody", "--yes", "--on", "cloud").returncode == 1


def test_who_is_given_out_again_gets_another_id(desk: Desk) -> None:
    first = desk.member("add", "Anna")
    refused = desk.run("member", "add", "Anna", "--on", "cloud")
    assert (refused.returncode, "has a login" in refused.stderr) == (2, True)
    desk.ok("member", "revoke", "Anna", "--yes", "--on", "cloud")
    second = desk.member("add", "Anna")
    assert second["id"] != first["id"]
    assert desk.member("show", "Anna")["id"] == second["id"]


def test_lists_are_filled_evenly_and_a_member_stays_on_theirs(desk: Desk) -> None:
    given = [desk.member("add", f"Member {number}") for number in range(4)]
    sizes = [len(identity.parse(desk.newest(f"members-{n}"))) for n in (1, 2)]
    assert sizes == [2, 2]
    before = {n: list(desk.versions(f"members-{n}")) for n in (1, 2)}
    desk.member("rotate", given[0]["id"])
    after = {n: list(desk.versions(f"members-{n}")) for n in (1, 2)}
    assert [before[n] == after[n] for n in (1, 2)] == [False, True]
    assert [each["name"] for each in desk.member("list")] == [
        f"Member {n}" for n in sorted(range(4), key=lambda n: given[n]["id"])
    ]


def test_many_at_once_lose_nothing(desk: Desk, tmp_path: Path) -> None:
    """Four who add, one who revokes."""
    leaves = desk.member("add", "Anna")
    desks = [another(desk, tmp_path / f"desk-{number}") for number in range(4)]
    leaving = desk.start("member", "revoke", "Anna", "--yes", "--on", "cloud")
    running = [
        each.start("member", "add", f"Member {number}", "--on", "cloud", "--json")
        for number, each in enumerate(desks)
    ]
    ended = [process.communicate(timeout=120) for process in (*running, leaving)]
    assert [each.returncode for each in (*running, leaving)] == [0] * 5, ended
    given = [json.loads(stdout) for stdout, _ in ended[:4]]
    assert set(logins(desk)) == {each["id"] for each in given} - {leaves["id"]}
    assert all(lets_in(each, logins(desk)[each["id"]]) == (True, True) for each in given)


def test_what_was_just_written_is_built_on_though_latest_lags_behind(desk: Desk) -> None:
    desk.configure(identity={"lists": 1})
    desk.member("add", "Anna")
    (desk.gcloud / "late").touch()
    desk.member("add", "Bert")
    desk.member("add", "Carl")
    assert len(logins(desk)) == 3
    assert len(desk.versions("keys")) == 1


def test_who_is_at_it_is_waited_for(desk: Desk) -> None:
    desk.ok("member", "keys", "--on", "cloud")
    file = desk.gcloud / "secrets" / f"{NAMES.secret('lock')}.json"
    free = json.loads(file.read_text())
    held = {**free, "annotations": {**free["annotations"], "telemetry-lock": "0123"}}
    file.write_text(json.dumps(held))
    waiting = desk.start("member", "add", "Anna", "--on", "cloud", "--json")
    assert waiting.stderr is not None
    assert "waiting" in waiting.stderr.readline()
    assert desk.versions("members-1") == desk.versions("members-2") == {}
    file.write_text(json.dumps({**free, "etag": '"99"'}))
    given = json.loads(waiting.communicate(timeout=60)[0])
    assert set(logins(desk)) == {given["id"]}
    assert desk.annotations()["telemetry-lock"] == "free"


def test_who_died_at_it_is_not_waited_for_for_ever(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ok("member", "keys", "--on", "cloud")
    file = desk.gcloud / "secrets" / f"{NAMES.secret('lock')}.json"
    left = json.loads(file.read_text())
    left["annotations"]["telemetry-lock"] = "0123"
    file.write_text(json.dumps(left))
    monkeypatch.setattr(cloud, "_LOCK_SECONDS", 2)
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    endpoint = cloud.Cloud(validated([]), NAMES)
    began = time.monotonic()
    with endpoint.alone():
        assert time.monotonic() - began > 2
        assert desk.annotations()["telemetry-lock"] not in ("0123", "free")
    assert desk.annotations()["telemetry-lock"] == "free"


def test_after_a_refusal_the_next_one_need_not_wait(desk: Desk) -> None:
    desk.member("add", "Anna")
    assert desk.run("member", "rotate", "Nobody", "--on", "cloud").returncode == 1
    assert desk.annotations()["telemetry-lock"] == "free"


def test_older_versions_are_destroyed_but_for_the_last_two(desk: Desk) -> None:
    desk.configure(identity={"lists": 1})
    for number in range(4):
        desk.member("add", f"Member {number}")
    assert list(desk.versions("members-1")) == [3, 4]


def test_keys_are_made_once_and_rotated_one_by_one(desk: Desk) -> None:
    assert "Made the keys" in desk.ok("member", "keys", "--on", "cloud")
    assert "are there" in desk.ok("member", "keys", "--on", "cloud")
    before = dict(line.split("=") for line in desk.newest("keys").splitlines())
    assert set(before) == {"admin_password", "ingest_password", "pseudonym_key"}
    desk.member("add", "Anna")
    assert dict(line.split("=") for line in desk.newest("keys").splitlines()) == before
    desk.ok("member", "keys", "--rotate", "ingest", "--on", "cloud")
    after = dict(line.split("=") for line in desk.newest("keys").splitlines())
    assert {key for key in before if before[key] != after[key]} == {"ingest_password"}


def test_the_edges_own_ca_is_made_and_handed_out_without_its_key(desk: Desk) -> None:
    given = desk.member("add", "Anna")
    own = certificates.pair(desk.newest("edge"))
    assert given["certificate_authority"] == own.certificate
    read = x509.load_pem_x509_certificate(own.certificate.encode())
    assert read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert "edge CA" in read.subject.rfc4514_string()
    assert (read.not_valid_after_utc - read.not_valid_before_utc).days == 3650
    desk.ok("member", "keys", "--rotate", "edge", "--yes", "--on", "cloud")
    fresh = desk.member("rotate", "Anna", "--query")
    assert fresh["certificate_authority"] == certificates.pair(desk.newest("edge")).certificate
    assert fresh["certificate_authority"] != own.certificate


def test_with_a_public_certificate_there_is_no_ca_of_ours(desk: Desk) -> None:
    desk.configure(edge={"domain": "telemetry.example.org"})
    given = desk.member("add", "Anna")
    assert given["query"] == "https://telemetry.example.org/query"
    assert "certificate_authority" not in given
    assert desk.versions("edge") == {}
    assert desk.run("member", "keys", "--rotate", "edge", "--on", "cloud").returncode == 2


def test_a_client_certificate_is_of_its_member_alone(desk: Desk, tmp_path: Path) -> None:
    desk.configure(edge={"clientCertificates": True})
    given = desk.member("add", "Anna")
    issuer = certificates.pair(desk.newest("client-ca"))
    allowed = certificates.split(desk.newest("client-certificates"))
    assert allowed == (issuer.certificate, given["client_certificate"])
    assert "PRIVATE KEY" not in desk.newest("client-certificates")
    read = x509.load_pem_x509_certificate(given["client_certificate"].encode())
    assert read.subject.rfc4514_string() == f"CN={given['id']}"
    assert (read.not_valid_after_utc - read.not_valid_before_utc).days == 365
    key = serialization.load_pem_private_key(given["client_key"].encode(), None)
    assert key.public_key() == read.public_key()
    for name, text in (("ca", issuer.certificate), ("leaf", given["client_certificate"])):
        (tmp_path / f"{name}.pem").write_text(text)
    done = subprocess.run(
        ["openssl", "verify", "-purpose", "sslclient", "-CAfile", "ca.pem", "leaf.pem"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "leaf.pem: OK\n", done.stderr


def test_of_client_certificates_the_newest_two_are_let_in(desk: Desk) -> None:
    desk.configure(edge={"clientCertificates": True})
    given = [desk.member("add", "Anna")]
    given.append(desk.member("rotate", "Anna", "--query", "--overlap", "1m"))
    shown = desk.member("show", "Anna")
    assert len(shown["certificates"]) == 2
    given.append(desk.member("rotate", "Anna", "--overlap", "0"))
    allowed = certificates.split(desk.newest("client-certificates"))
    assert allowed[1:] == (given[-1]["client_certificate"],)


def test_a_file_of_credentials_is_for_its_owner_alone(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "anna.yaml"
    done = desk.run("member", "add", "Anna", "--output", str(file), "--on", "cloud")
    given = yaml.safe_load(file.read_text())
    assert done.stdout == f"{given['id']}\n"
    assert given["query_password"] not in done.stdout + done.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = desk.run("member", "add", "Bert", "--output", str(file), "--on", "cloud")
    nowhere = str(tmp_path / "none" / "b.yaml")
    other = desk.run("member", "add", "Bert", "--output", nowhere, "--on", "cloud")
    assert (again.returncode, other.returncode) == (2, 2)
    assert [each["name"] for each in desk.member("list")] == ["Anna"], "nothing was made for it"


def test_credentials_are_taken_in_and_new_ones_replace_what_they_are_for(
    desk: Desk, tmp_path: Path
) -> None:
    files = [tmp_path / "first.yaml", tmp_path / "second.yaml"]
    desk.ok("member", "add", "Anna", "--output", str(files[0]), "--on", "cloud")
    desk.ok("member", "rotate", "Anna", "--query", "--output", str(files[1]), "--on", "cloud")
    first, second = (yaml.safe_load(file.read_text()) for file in files)
    anna = another(desk, tmp_path / "anna")
    for file in files:
        assert first["id"] in anna.ok("member", "accept", str(file))
    kept = anna.home.secrets_folder / "shared-cloud.yaml"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert yaml.safe_load(kept.read_text()) == {**first, **second}
    files[0].write_text("stack: [x]\npassword: very-secret\n")
    damaged = anna.run("member", "accept", str(files[0]))
    assert (damaged.returncode, "very-secret" in damaged.stderr) == (1, False)
    assert anna.run("member", "accept", str(tmp_path / "none")).returncode == 2


@pytest.mark.parametrize(
    ("failure", "mend"),
    [
        ("logged-out", "gcloud auth login"),
        ("denied", "cloud.administrators"),
        ("api-off", "pulumi up -s cloud"),
        ("odd", "something else"),
    ],
)
def test_what_google_refuses_is_said_with_its_mend(desk: Desk, failure: str, mend: str) -> None:
    (desk.gcloud / "failure").write_text(failure)
    done = desk.run("member", "add", "Anna", "--on", "cloud")
    assert (done.returncode, done.stdout) == (1, "")
    assert mend in done.stderr
    assert "Traceback" not in done.stderr


def test_before_the_first_pulumi_up_the_mend_is_named(desk: Desk) -> None:
    (desk.gcloud / "secrets" / NAMES.secret("lock")).rmdir()
    done = desk.run("member", "add", "Anna", "--on", "cloud")
    assert (done.returncode, "pulumi up -s cloud" in done.stderr) == (1, True)
    # A project that is not named is a matter of settings.
    desk.configure(cloud={"project": ""})
    done = desk.run("member", "list", "--on", "cloud")
    assert (done.returncode, "cloud.project" in done.stderr) == (2, True)


def test_without_gcloud_the_mend_is_named(desk: Desk) -> None:
    done = desk.run("member", "list", "--on", "cloud", PATH=str(desk.clone))
    assert (done.returncode, "gcloud" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--on", "local"),
        ("add", "", "--on", "cloud"),
        ("add", "m-abcdefghij", "--on", "cloud"),
        ("add", "A\tb", "--on", "cloud"),
        ("add", "Anna", "--team", "a b", "--on", "cloud"),
        ("add", "Anna", "--role", "admin", "--on", "cloud"),
        ("rotate", "Anna", "--overlap", "1w", "--on", "cloud"),
        ("rotate", "Anna", "--overlap", "91d", "--on", "cloud"),
        ("keys",),
        ("keys", "--rotate", "pseudonym", "--on", "cloud"),
    ],
)
def test_misuse_is_told_with_exit_code_2_and_changes_nothing(
    desk: Desk, words: tuple[str, ...]
) -> None:
    assert desk.run("member", *words).returncode == 2
    assert desk.versions("members-1") == {}


def test_a_list_that_would_be_too_large_is_refused(desk: Desk) -> None:
    desk.configure(identity={"lists": 1})
    desk.member("add", "Anna")
    [line] = desk.newest("members-1").splitlines(True)
    many = "".join(
        line.replace(line[2:12], f"{number:010}") for number in range(65_536 // len(line))
    )
    folder = desk.gcloud / "secrets" / NAMES.secret("members-1")
    (folder / "1.ENABLED").write_text(many)
    done = desk.run("member", "add", "Bert", "--on", "cloud")
    assert (done.returncode, "identity.lists" in done.stderr) == (1, True)
    assert list(desk.versions("members-1")) == [1]
