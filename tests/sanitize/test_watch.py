"""Those who look whether anything got through: the canary, the scan, and the member."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from infra.collector import rules
from scripts import canary, supervise, tick
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
                if "replace_all_patterns" not in each or "redacted:github-token" not in each
            ]  # fmt: skip
    layout.collector_config.write_text(yaml.safe_dump(config))
    supervisor = Supervisor(layout)
    supervisor.halt("collector")
    supervisor.run("collector")
    until(lambda: own_stack.run("status", "--json").returncode == 0)
    done = own_stack.run("verify", "--canary")
    assert done.returncode == 1
    assert "github-token: in rows of telemetry_events" in done.stderr
    assert "ghp_" not in done.stdout + done.stderr
    status = own_stack.run("status")
    assert status.returncode == 1
    assert "made-up secrets were found" in status.stdout


@pytest.mark.stack
def test_a_secret_in_a_file_is_found_too(own_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    own_stack.ok("up")
    really = canary._send

    def leaky(settings: Any, plants: Any, run: str) -> None:
        really(settings, plants, run)
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
    assert tick.canary_due(home)
    assert tick.overdue(home) == ""
    noted(home, timedelta(hours=23))
    assert not tick.canary_due(home)
    noted(home, timedelta(hours=25))
    assert tick.canary_due(home)
    assert tick.overdue(home) == ""
    noted(home, timedelta(hours=31))
    assert "31 hours old" in tick.overdue(home)
    home.paused.write_text("now")
    assert tick.overdue(home) == "", "while paused nothing can be sent"


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
