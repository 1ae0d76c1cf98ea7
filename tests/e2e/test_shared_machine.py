"""Several people on one machine: each logs in to send and to ask, and sees their own rows.

A machine is shared only where ClickHouse is a server of its own. Where there is none, the library
stands in for it, in a copy of the clone that does not refuse to.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from infra import identity
from infra.identity import Login
from scripts import member
from stacks.home import PROJECT, Home
from tests.conftest import Stack, until

pytestmark = pytest.mark.stack

CLAIMED = {"member": "m-someoneels", "team": "not-theirs", "telemetry.login": "m-someoneels"}


@dataclass
class Person:
    """Somebody with credentials and a state folder of their own."""

    stack: Stack
    home: Home
    given: dict[str, str]

    def run(self, *words: str) -> Any:
        return self.stack.run(*words, env={"TELEMETRY_HOME": str(self.home.path)})

    def ask(self, sql: str) -> list[dict[str, Any]]:
        done = self.run("query", "--on", "machine", "--json", "--sql", sql)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def send(self, session: str) -> int:
        return send(self.stack, session, self.given["ingest_login"], self.given["ingest_password"])

    def renew(self, file: Path, *words: str) -> None:
        """Have new credentials made, and take them in."""
        self.stack.ok("member", "rotate", self.given["id"], *words, "--output", str(file))
        assert self.run("member", "accept", str(file)).returncode == 0
        self.given = {**self.given, **yaml.safe_load(file.read_text())}


def send(stack: Stack, session: str, login: str = "", password: str = "") -> int:
    """One event that claims to be of somebody else; the status that it is answered with."""
    attributes = {"event.name": "user_prompt", "session.id": session, "event.sequence": "1"}

    def pairs(found: dict[str, str]) -> list[dict[str, Any]]:
        return [{"key": key, "value": {"stringValue": each}} for key, each in found.items()]

    record = {
        "timeUnixNano": str(time.time_ns()),
        "body": {"stringValue": "claude_code.user_prompt"},
        "attributes": pairs({**attributes, **CLAIMED}),
    }
    scope = {"scope": {"attributes": pairs(CLAIMED)}, "logRecords": [record]}
    body = {"resourceLogs": [{"resource": {"attributes": pairs(CLAIMED)}, "scopeLogs": [scope]}]}
    headers = {"Content-Type": "application/json"}
    if login:
        headers |= urllib3.make_headers(basic_auth=f"{login}:{password}")
    return urllib3.request(
        "POST",
        f"http://127.0.0.1:{stack.settings.ports.otlp_http}/v1/logs",
        body=json.dumps(body).encode(),
        headers=headers,
        retries=False,
    ).status


def sessions(found: Sequence[dict[str, Any]]) -> set[str]:
    return {row["session_id"] for row in found}


SESSIONS = "SELECT session_id, member, team FROM telemetry_events"


REFUSALS = {
    "infra/services.py": "if loopback_default and logins:",
    "scripts/up.py": 'if logins and programs.engine == "libchdb":',
    "scripts/member_commands.py": "if not toolchain.has_clickhouse(office.settings):",
}


class Shared(Stack):
    """One that may be shared."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.clone = folder / "clone"
        for name in ("infra", "scripts", "stacks", "queries", "toolchain", "contracts"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(PROJECT / name, self.clone / name, ignore=ignored)
        (self.clone / "build").symlink_to(PROJECT / "build")
        (self.clone / ".venv").symlink_to(PROJECT / ".venv")
        for name in ("Pulumi.yaml", "Pulumi.local.yaml"):
            shutil.copy(PROJECT / name, self.clone)
        for name, refusal in REFUSALS.items():
            file = self.clone / name
            assert file.read_text().count(refusal) == 1
            file.write_text(file.read_text().replace(refusal, "if False:"))

    def run(
        self, *words: str, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROJECT / ".venv" / "bin" / "python", "-m", "scripts.cli", *words],
            cwd=cwd or self.user,
            env={**self.environment, "PYTHONPATH": str(self.clone), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Of its owner, alone."""
    made = Shared(tmp_path_factory.mktemp("machine"), context={"team": "owners"})
    made.ok("up")
    yield made
    made.down()


@pytest.fixture(scope="module")
def people(machine: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Person]:
    """Anna and Bert, who were added while the stack ran."""
    assert send(machine, "of-the-owner") == 200
    folder = tmp_path_factory.mktemp("people")
    found = {}
    for name, team in (("anna", "lighthouse"), ("bert", "")):
        file = folder / f"{name}.yaml"
        machine.ok("member", "add", name, "--team", team, "--output", str(file))
        person = Person(machine, Home(folder / name), yaml.safe_load(file.read_text()))
        assert person.run("member", "accept", str(file)).returncode == 0
        found[name] = person
    return found


def test_nothing_is_taken_from_who_does_not_log_in(
    machine: Stack, people: dict[str, Person]
) -> None:
    anna, bert = people["anna"].given, people["bert"].given
    assert send(machine, "nobodys") == 401
    assert send(machine, "nobodys", anna["ingest_login"], "wrong") == 401
    assert send(machine, "nobodys", anna["ingest_login"], bert["ingest_password"]) == 401
    assert send(machine, "nobodys", bert["id"] + "+lighthouse", bert["ingest_password"]) == 401
    assert send(machine, "nobodys", anna["id"], anna["query_password"]) == 401


def test_rows_are_of_who_logged_in_whatever_they_claim(
    machine: Stack, people: dict[str, Person]
) -> None:
    assert [people[name].send(f"of-{name}") for name in ("anna", "bert")] == [200, 200]
    own = member.own_credentials(machine.settings, machine.home)
    assert own is not None
    assert send(machine, "of-the-owner-2", own.ingest_login, own.ingest_password) == 200
    owner = machine.home.secrets().member
    until(lambda: len(machine.admin(f"{SESSIONS.replace('FROM ', 'FROM telemetry.')}")) == 4)
    assert people["anna"].ask(SESSIONS) == [
        {"session_id": "of-anna", "member": people["anna"].given["id"], "team": "lighthouse"}
    ]
    bert = people["bert"].given["id"]
    assert [(row["session_id"], row["member"]) for row in people["bert"].ask(SESSIONS)] == [
        ("of-bert", bert)
    ]
    assert set(machine.member("SELECT session_id, member FROM telemetry_events")) == {
        ("of-the-owner", owner),
        ("of-the-owner-2", owner),
    }


def test_of_others_rows_nobody_learns_through_sums(people: dict[str, Person]) -> None:
    for table in ("sessions", "daily_metrics", "telemetry_events", "metric_points", "users"):
        done = people["anna"].run(
            "query", "--on", "machine", "--json", "--sql", f"SELECT * FROM {table}"
        )
        assert people["bert"].given["id"] not in done.stdout
        assert "of-bert" not in done.stdout + done.stderr


def test_everyone_has_the_report_of_their_own_month(
    machine: Stack, people: dict[str, Person]
) -> None:
    """The owner too: the machine's, and not others' rows, unless they ask for the team's."""
    words = ("report", "month", "--format", "json")
    for done in (people["anna"].run(*words, "--on", "machine"), machine.run(*words)):
        assert done.returncode == 0, done.stderr
        assert people["bert"].given["id"] not in done.stdout
        assert json.loads(done.stdout)["scope"] == "own"
    assert json.loads(machine.ok(*words, "--scope", "team"))["scope"] == "team"


def test_the_self_tests_go_on_as_the_owner(machine: Stack, people: dict[str, Person]) -> None:
    assert people
    machine.ok("verify")
    machine.ok("verify", "--canary")
    assert json.loads(machine.ok("up", "--json"))["changes"] == []


def test_claude_code_is_told_how_to_log_in(machine: Stack, people: dict[str, Person]) -> None:
    for run in (machine.run, people["anna"].run):
        lines = run("env").stdout.splitlines()
        found = dict(shlex.split(line)[1].split("=", 1) for line in lines)
        name, _, value = found["OTEL_EXPORTER_OTLP_HEADERS"].partition("=")
        reply = urllib3.request(
            "POST",
            found["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/logs",
            body=b"{}",
            headers={name: value, "Content-Type": "application/json"},
            retries=False,
        )
        assert reply.status == 200


def test_at_a_rotation_both_hold_until_the_earlier_ones_are_ended(
    people: dict[str, Person], tmp_path: Path
) -> None:
    anna = people["anna"]
    before = dict(anna.given)
    anna.renew(tmp_path / "1.yaml", "--overlap", "1h")
    login, password = before["ingest_login"], before["ingest_password"]
    assert send(anna.stack, "of-anna-before", login, password) == 200
    assert anna.send("of-anna-after") == 200
    until(lambda: len(anna.ask(SESSIONS)) == 3)
    assert {row["member"] for row in anna.ask(SESSIONS)} == {before["id"]}
    anna.renew(tmp_path / "2.yaml", "--overlap", "0")
    assert send(anna.stack, "of-anna-late", login, password) == 401
    assert len(anna.ask(SESSIONS)) == 3


def test_what_has_ended_by_time_is_shut_out_by_the_next_tick(
    people: dict[str, Person], tmp_path: Path
) -> None:
    bert = people["bert"]
    before = dict(bert.given)
    bert.renew(tmp_path / "1.yaml", "--overlap", "1m")
    file = bert.stack.home.secrets_folder / "members.tsv"
    text, ended = re.subn(r"@\d+", f"@{int(time.time()) - 1}", file.read_text())
    assert ended == 2
    file.write_text(text)
    for told in ("htpasswd", "clickhouse-users.xml"):
        os.utime(bert.stack.home.run / told, (time.time() - 60, time.time() - 60))
    assert "credentials that have ended" in bert.stack.ok("tick")
    assert "credentials that have ended" not in bert.stack.ok("tick")
    assert send(bert.stack, "late", before["ingest_login"], before["ingest_password"]) == 401
    address = f"http://127.0.0.1:{bert.stack.settings.ports.clickhouse_http}/?query=SELECT+1"
    for password, status in ((before["query_password"], 403), (bert.given["query_password"], 200)):
        headers = urllib3.make_headers(basic_auth=f"{before['id']}:{password}")
        assert urllib3.request("GET", address, headers=headers).status == status
    assert bert.send("of-bert-2") == 200


def test_revoking_holds_at_once_and_rows_stay(machine: Stack, people: dict[str, Person]) -> None:
    bert, anna = people["bert"], people["anna"]
    machine.ok("member", "revoke", "bert", "--yes")
    assert bert.send("of-bert-late") == 401
    done = bert.run("query", "--on", "machine", "--sql", "SELECT 1")
    assert (done.returncode, "revoked" in done.stderr) == (1, True)
    assert bert.given["query_password"] not in done.stderr
    mine = f"SELECT count() FROM telemetry.telemetry_events WHERE member = '{bert.given['id']}'"
    assert machine.admin(mine)[0][0] >= 1
    assert anna.send("of-anna-still") == 200

    machine.ok("member", "revoke", "anna", "--yes")
    assert send(machine, "of-the-owner-alone-again") == 200
    until(lambda: ("of-the-owner-alone-again",) in machine.member(
        "SELECT session_id FROM telemetry_events"
    ))  # fmt: skip


def test_the_owner_is_neither_revoked_nor_rotated(tmp_path: Path) -> None:
    made = Shared(tmp_path)
    made.ok("member", "add", "anna")
    owner = made.home.secrets().member
    for words in (("revoke", owner, "--yes"), ("rotate", owner)):
        assert made.run("member", *words).returncode == 2
    assert owner in {each["id"] for each in json.loads(made.ok("member", "list", "--json"))}


def test_with_the_library_a_machine_is_not_shared(own_stack: Stack) -> None:
    done = own_stack.run("member", "add", "anna")
    assert (done.returncode, "programs.clickhouse" in done.stderr) == (1, True)
    assert json.loads(own_stack.ok("member", "list", "--json")) == []
    other = Login(id="m-abcdefghij")
    (own_stack.home.secrets_folder / "members.tsv").write_text(identity.table([other]))
    done = own_stack.run("up")
    assert (done.returncode, "programs.clickhouse" in done.stderr) == (1, True)
