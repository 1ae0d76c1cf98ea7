"""Those who look whether anything got through: the canary, the scan, and the member."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.collector import rules
from infra.settings import Settings
from infra.warehouse import names
from scripts import canary, delivery, local, status, supervise, tick
from scripts.errors import Failure
from scripts.supervise import Supervisor
from stacks.embedded.processes import Layout
from stacks.home import Home
from tests.conftest import Stack, until
from tests.sanitize import samples

SECRET = samples.made("ghp_[A-Za-z0-9]{36}", "watch")


@pytest.mark.parametrize("pattern", rules.patterns(), ids=lambda pattern: pattern.name)
def test_every_class_is_planted_as_something_its_rule_cuts_out(pattern: rules.Pattern) -> None:
    import random

    from infra.collector.rules.apply import Cutter

    cut = Cutter(rules.patterns())
    for seed in range(50):
        plant = canary.planted(pattern, random.Random(seed))
        assert "<" not in plant.text.replace("<jane@", ""), plant.text
        assert min(map(len, plant.marks)) >= 8, plant.marks
        assert all(mark in plant.text for mark in plant.marks)
        result = cut(plant.text)
        assert not any(mark in result.text for mark in plant.marks), plant.text
        assert pattern.name in result.found, plant.text


@pytest.mark.stack
def test_the_canary_is_sent_after_up_and_leaves_nothing(own_stack: Stack) -> None:
    assert f"{len(rules.patterns())} made-up secrets" in own_stack.ok("up")
    verdict = json.loads(own_stack.ok("verify", "--canary", "--json"))
    assert verdict["well"] is True
    assert verdict["planted"] == len(rules.patterns())
    assert verdict["rows"] >= 2 * verdict["planted"]
    assert verdict["files"] > 0
    for table in ("telemetry_events", "metric_points", "event_content"):
        assert own_stack.admin(f"SELECT count() FROM telemetry.{table}") == [(0,)]
    assert json.loads(own_stack.ok("status", "--json"))["canary"] == verdict["at"]


@pytest.mark.stack
def test_a_collector_that_lets_secrets_through_is_found_out(own_stack: Stack) -> None:
    """Rules are taken out of the running collector: the canary must be loud, and stay so."""
    own_stack.ok("up")
    layout = Layout(own_stack.home)
    config: dict[str, Any] = yaml.safe_load(layout.collector_config.read_text())
    for step in config["processors"]["transform/sanitize"]["log_statements"]:
        if step["context"] == "log":
            step["statements"] = [
                each for each in step["statements"]
                if "replace_all_patterns" not in each or "redacted:home" not in each
            ]  # fmt: skip
    layout.collector_config.write_text(yaml.safe_dump(config))
    supervisor = Supervisor(layout)
    supervisor.halt("collector")
    supervisor.run("collector")
    until(lambda: own_stack.run("status", "--json").returncode == 0)
    done = own_stack.run("verify", "--canary")
    assert done.returncode == 1
    assert "home: in rows of telemetry_events" in done.stderr
    assert "/home/" not in done.stdout + done.stderr
    shown = own_stack.run("status")
    assert shown.returncode == 1
    assert "made-up secrets were found" in shown.stdout


@pytest.mark.stack
def test_a_secret_in_a_file_is_found_too(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    own_stack.ok("up")
    really = canary._send

    def leaky(settings: Any, plants: Any, *rest: str) -> None:
        really(settings, plants, *rest)
        (own_stack.home.log / "crash.log").write_text(f"panic: {plants[3].text}")

    monkeypatch.setattr(canary, "_send", leaky)
    found = canary.canary(own_stack.settings, own_stack.home)
    assert [(leak.name, leak.where) for leak in found.leaks] == [
        (rules.patterns()[3].name, str(own_stack.home.log / "crash.log"))
    ]


def noted(home: Home, age: timedelta) -> None:
    home.prepare()
    at = (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    note = {"at": at, "planted": 1, "rows": 1, "files": 1, "leaks": []}
    (home.run / "canary.json").write_text(json.dumps(note))


def test_a_tick_does_what_is_due_and_status_says_what_is_late(tmp_path: Any) -> None:
    home = Home(tmp_path / "state")

    def overdue() -> list[str]:
        return tick.overdue(Settings(), home)

    assert tick.canary_due(home)
    assert overdue() == []
    noted(home, timedelta(hours=23))
    assert not tick.canary_due(home)
    noted(home, timedelta(hours=25))
    assert tick.canary_due(home)
    assert overdue() == []
    noted(home, timedelta(hours=31))
    assert "31 hours old" in overdue()[0]
    (home.run / "canary.json").unlink()
    for file in (Layout(home).collector_config, home.containers):
        file.write_text("local\n")
        assert overdue() == [], "of a new stack none is due yet"
        yesterday = time.time() - timedelta(hours=25).total_seconds()
        os.utime(file, (yesterday, yesterday))
        assert "no canary was ever sent" in overdue()[0]
        file.unlink()
    noted(home, timedelta(hours=31))
    home.paused.write_text("now")
    assert overdue() == [], "while paused nothing can be sent"


@pytest.mark.stack
def test_containers_are_checked_as_plain_processes_are(
    own_stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_stack.ok("up")
    (own_stack.home.run / "canary.json").unlink()
    local.check(own_stack.settings, own_stack.home)
    found = canary.last(own_stack.home)
    assert found is not None
    assert found.well
    monkeypatch.setattr(
        canary, "canary", lambda *_: replace(found, leaks=(canary.Leak("email", "rows"),))
    )
    with pytest.raises(Failure, match="must not be stored"):
        local.check(own_stack.settings, own_stack.home)


@pytest.mark.parametrize(
    ("words", "checked"),
    [([], True), (["up", "--yes"], True), (["preview"], False), (["up", "--help"], False)],
)
def test_make_local_ends_with_that_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], checked: bool
) -> None:
    pulumi = tmp_path / "bin" / "pulumi"
    pulumi.parent.mkdir()
    pulumi.write_text("#!/bin/sh\n")
    pulumi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{pulumi.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TELEMETRY_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("sys.argv", ["local", *words])
    calls: list[Home] = []
    monkeypatch.setattr(local, "check", lambda _, home: calls.append(home))
    assert local.main() == 0
    assert bool(calls) == checked


def failed(
    at: datetime, wait: str, signal: str = "logs", error: str = "[HTTP 500] Code: 241. M"
) -> str:
    told = {"otelcol.component.id": "clickhouse", "otelcol.signal": signal, "error": error}
    return (
        f"{at.isoformat()}\tinfo\tinternal/retry_sender.go:136\tExporting failed. Will retry the "
        f"request after interval.\t{json.dumps({**told, 'interval': wait})}\n"
    )


def test_what_is_tried_in_vain_for_minutes_is_stuck() -> None:
    now = datetime.now(UTC)
    tries = [(now - timedelta(seconds=ago), "30.5s") for ago in range(300, 0, -40)]
    log = "other\n" + "".join(failed(*each) for each in tries)
    [found] = delivery.stuck(log, frozenset({"logs"}), now)
    assert found.signal == "logs"
    assert found.code == "241"
    assert found.since >= timedelta(seconds=300)
    assert "5 minutes" in found.said
    assert delivery.stuck(log, frozenset({"metrics"}), now) == []
    assert delivery.stuck(log, frozenset(), now) == []
    later = now + timedelta(minutes=2)
    assert delivery.stuck(log, frozenset({"logs"}), later) == [], "the last try went well"
    short = "".join(failed(*each) for each in tries[-3:])
    assert delivery.stuck(short, frozenset({"logs"}), now) == [], "it may still go through"
    apart = failed(now - timedelta(minutes=9), "1.2s") + failed(now - timedelta(seconds=5), "1.2s")
    assert delivery.stuck(apart, frozenset({"logs"}), now) == [], "two troubles, each short"
    hopeless = failed(
        now - timedelta(seconds=5), "1.2s", error="[HTTP 403] failed to read response"
    )
    [found] = delivery.stuck(hopeless, frozenset({"logs"}), now)
    assert "does not take the collector's password" in found.said
    silent = "".join(failed(*each, error=f"EOF {SECRET}") for each in tries)
    [found] = delivery.stuck(silent, frozenset({"logs"}), now)
    assert SECRET not in found.said


@pytest.mark.stack
def test_status_is_red_while_clickhouse_refuses_what_waits(own_stack: Stack) -> None:
    from tests import made
    from tests.sanitize import through

    own_stack.ok("up")
    table = f"{names.DATABASE}.{names.LOGS_LANDING}"
    own_stack.admin(f"RENAME TABLE {table} TO {table}_away")
    assert own_stack.post("logs", made.request(through.log("s", 0, {"result": "waits"}))) == 200

    def problems() -> list[str]:
        return status.status(own_stack.settings, own_stack.home).problems

    [problem] = until(problems)
    assert "logs cannot be stored in ClickHouse: the tables are not there" in problem
    assert names.LOGS_LANDING not in problem, "none of its words, which may repeat a value"
    own_stack.admin(f"RENAME TABLE {table}_away TO {table}")
    until(lambda: not problems(), seconds=60)


def test_the_log_of_a_container_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$DOCKER_HOST $*" >&2\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    home = Home(tmp_path / "state")
    home.prepare()
    home.containers.write_text("local\n")
    settings = Settings.model_validate({"docker": {"host": "unix:///x.sock"}})
    asked = delivery.log_of(settings, home, "local")
    assert asked.startswith("unix:///x.sock logs ")
    assert asked.strip().endswith("telemetry-local-collector")


@pytest.mark.stack
def test_the_timer_of_the_plain_processes_ends_with_them(own_stack: Stack) -> None:
    own_stack.ok("up")
    noted(own_stack.home, timedelta(hours=25))
    assert "canary: " in own_stack.ok("tick")
    assert own_stack.ok("tick") == ""
    state = supervise.Supervisor(Layout(own_stack.home)).states()["tick"]
    assert state.runs
    own_stack.ok("down")
    import psutil

    assert not psutil.pid_exists(state.pid)


@pytest.mark.stack
def test_scan_tells_where_and_never_what(own_stack: Stack) -> None:
    own_stack.ok("up")
    assert "Nothing found" in own_stack.ok("scan")
    own_stack.admin(
        "INSERT INTO telemetry.telemetry_events (ts, event, member, git_branch, extra) VALUES "
        f"(now64(3), 'stored', 'm-x', '{SECRET}', map('result', '{SECRET}'))"
    )
    own_stack.admin(
        "INSERT INTO telemetry.event_content (ts, event, kind, member, content) VALUES "
        "(now64(3), 'stored', 'prompt', 'm-x', 'mail jane.doe@example.com')"
    )
    done = own_stack.run("scan", "--json")
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr
    assert "jane.doe" not in done.stdout + done.stderr
    hits = {(hit["where"], hit["what"], hit["found_by"]) for hit in json.loads(done.stdout)["hits"]}
    assert {
        ("telemetry_events.extra[result]", "github-token", "rules"),
        ("telemetry_events.extra[result]", "GitHub Token", "detect-secrets"),
        ("telemetry_events.git_branch", "github-token", "rules"),
        ("event_content.content", "email", "rules"),
    } <= hits
    shown = own_stack.run("scan")
    assert shown.returncode == 1
    assert SECRET not in shown.stdout + shown.stderr


@pytest.mark.stack
def test_scan_looks_at_names_and_at_records_set_aside(own_stack: Stack) -> None:
    own_stack.ok("up")
    own_stack.admin(
        "INSERT INTO telemetry.telemetry_events (ts, event, member, extra) VALUES "
        f"(now64(3), 'stored', 'm-x', map('{SECRET}', 'mail jo@example.com', 'result', '7'))"
    )
    aside = Layout(own_stack.home).aside
    aside.mkdir(parents=True, exist_ok=True)
    record = {"key": "result", "value": {"stringValue": f"x {SECRET}"}}
    (aside / "aside.jsonl").write_text(
        json.dumps({"timeUnixNano": "4111111111111111", "attributes": [record, record]})
        + "\nbroken jane.doe@example.com\n"
    )
    done = own_stack.run("scan", "--json")
    assert done.returncode == 1
    for text in (SECRET, "example.com"):
        assert text not in done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["set_aside"] == 2
    hits = {
        (hit["where"], hit["what"]): hit["rows"]
        for hit in found["hits"]
        if hit["found_by"] == "rules"
    }
    assert hits == {
        ("telemetry_events.extra (name of an attribute)", "github-token"): 1,
        ("telemetry_events.extra[(odd name)]", "email"): 1,
        ("aside.jsonl (set aside)", "github-token"): 1,
        ("aside.jsonl (set aside)", "email"): 1,
    }
    shown = own_stack.run("scan")
    assert SECRET not in shown.stdout + shown.stderr


@pytest.mark.stack
def test_a_member_is_shown_all_that_is_stored_of_them_and_nothing_of_others(
    own_stack: Stack, tmp_path: Any
) -> None:
    own_stack.ok("up")
    for member, branch in ((own_stack.home.secrets().member, "mine"), ("m-other00000", "theirs")):
        own_stack.admin(
            "INSERT INTO telemetry.telemetry_events (ts, event, member, git_branch) "
            "VALUES (now64(3), 'user_prompt', {m:String}, {b:String})",
            m=member,
            b=branch,
        )
    assert own_stack.run("what-do-you-have").returncode == 2
    file = tmp_path / "mine.jsonl"
    shown = own_stack.ok("what-do-you-have", "--me", "--export", str(file))
    assert "mine" in shown
    assert "theirs" not in shown
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["row"]["git_branch"] for row in rows if row["table"] == "telemetry_events"] == [
        "mine"
    ]
    assert file.stat().st_mode & 0o077 == 0
    found = json.loads(own_stack.ok("what-do-you-have", "--me", "--json"))
    tables = {each["table"]: each for each in found["tables"]}
    assert tables["telemetry_events"]["rows"] == 1
    assert tables["telemetry_events"]["kept_days"] == 90


@pytest.mark.stack
def test_who_tells_the_pseudonym_that_is_stored_and_keeps_names(own_stack: Stack) -> None:
    from tests.sanitize import through

    own_stack.ok("up")
    stored = through.kept(own_stack, {"user.email": "jo@example.com"})["user.email"]
    said = json.loads(own_stack.ok("who", "jo@example.com", "--name", "Jo", "--json"))
    assert said == {stored: "Jo"}
    assert json.loads(own_stack.ok("who", stored, "--json")) == said
    shown = own_stack.ok(
        "query", "--sql", "SELECT extra['user.email'] AS email FROM telemetry_events", "--names",
        "--json",
    )  # fmt: skip
    assert json.loads(shown) == [{"email": "Jo"}]
    directory = own_stack.home.secrets_folder / "directory.json"
    assert directory.stat().st_mode & 0o077 == 0
    own_stack.ok("who", "jo@example.com", "--name", "")
    assert json.loads(own_stack.ok("who", "--json")) == {own_stack.home.secrets().member: ""}


@pytest.mark.stack
def test_sanitize_shows_what_the_rules_make_of_a_text(own_stack: Stack) -> None:
    import subprocess

    from tests.conftest import TELEMETRY

    done = subprocess.run(
        [TELEMETRY, "sanitize"],
        env=own_stack.environment,
        input=f"key {SECRET} of jane.doe@example.com\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "key [redacted:github-token] of [redacted:email]\n"
    assert "email (1), github-token (1)" in done.stderr
    explained = json.loads(own_stack.ok("sanitize", "--explain", "--json"))
    assert {"rule", "name", "what or why"} == set(explained[0])
    broken = subprocess.run(
        [TELEMETRY, "sanitize"],
        env=own_stack.environment,
        input=b"\xff " + SECRET.encode(),
        capture_output=True,
        timeout=60,
    )
    assert broken.returncode == 0, broken.stderr
    assert broken.stdout.decode() == "\ufffd [redacted:github-token]"
