"""What is purged is gone: from every table and file, and it does not come back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.collector.purge import purge_hash
from infra.warehouse import names
from scripts import supervise
from stacks.embedded.processes import Layout
from tests import made, recorded
from tests.conftest import Stack, until
from tests.recorded import Recorded

pytestmark = pytest.mark.stack

GONE = str(uuid.UUID(int=7 * 2**100 + 7))
STAYS = str(uuid.UUID(int=9 * 2**100 + 9))


def events(session: str, *, ago_s: int = 0) -> list[Recorded]:
    """A recorded session, with its counters, under another id."""
    run = "claude-code-2.1.330/01-text"
    found = [each for each in recorded.requests() if each.run == run and each.signal != "traces"]
    [old] = {
        attributes["session.id"]
        for each in found
        for attributes, _, _ in recorded.events(each)
        if "session.id" in attributes
    }
    renamed = [
        Recorded(
            each.run,
            each.name,
            each.signal,
            json.loads(json.dumps(each.body).replace(old, session)),
        )
        for each in found
    ]
    return recorded.shifted(renamed, ago_s)


def figures(session: str) -> str:
    """The question how many events a session has, and what it cost."""
    return f"SELECT count(), sum(cost_usd) FROM telemetry_events WHERE session_id = '{session}'"


def in_database(stack: Stack, text: str) -> dict[str, int]:
    """Rows by table in which a text stands in any column, whatever that is; system logs too."""
    stack.admin("SYSTEM FLUSH LOGS")
    tables = stack.admin(
        "SELECT database, name FROM system.tables WHERE (database = 'telemetry' AND engine "
        "NOT IN ('View', 'MaterializedView', 'Null')) OR "
        "(database = 'system' AND match(name, '_log(_[0-9]+)?$'))"
    )
    found = {}
    for database, table in tables:
        [(rows,)] = stack.admin(
            f"SELECT count() FROM {database}.`{table}` "
            "WHERE position(formatRow('TSV', *), {text:String}) > 0 "
            "SETTINGS final = 0, log_queries = 0",
            text=text,
        )
        if rows:
            found[f"{database}.{table}"] = int(rows)
    return found


def in_files(folder: Path, text: str, *without: str) -> list[str]:
    """Files below a folder that hold a text, as it is."""
    return [
        str(file.relative_to(folder))
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and text.encode() in file.read_bytes()
        and str(file.relative_to(folder)) not in without
    ]


def test_a_session_is_gone_from_all_tables_and_files_and_stays_away(
    own_stack: Stack, tmp_path: Path
) -> None:
    own_stack.change(content="full", retention={"eventsDays": 120, "metricsDays": 120})
    own_stack.ok("up")
    gone, old = events(GONE), events(GONE, ago_s=95 * 86_400)
    own_stack.send(gone)
    own_stack.send(old)
    own_stack.send(events(STAYS))
    text = made.log(
        GONE,
        attributes={"event.name": "user_prompt", "prompt": f"Write of {GONE}", "prompt_length": 9},
    )
    aside = made.log(GONE, attributes={"event.name": "A name with blanks"})
    both = made.request(aside, made.log(STAYS, attributes={"event.name": "Another one"}))
    assert own_stack.post("logs", made.request(text)) == 200
    assert own_stack.post("logs", both) == 200
    file = own_stack.home.queue / "aside" / "aside.jsonl"
    until(lambda: file.exists() and GONE in file.read_text() and STAYS in file.read_text())
    texts = "SELECT count() FROM event_content WHERE content LIKE 'Write of %'"
    until(lambda: own_stack.member(texts) == [(1,)])
    own_stack.ok("label", GONE, "--chapter", "ch07")
    own_stack.ok(
        "query", "--sql", f"SELECT count() FROM telemetry_events WHERE session_id = '{GONE}'"
    )

    # Copies: an archive with the old days of it, and a backup.
    archive, backups = tmp_path / "archive", tmp_path / "backups"
    own_stack.change(content="full", retention={"eventsDays": 90, "metricsDays": 90})
    own_stack.ok("cleanup", "--archive", str(archive), "--yes")
    own_stack.ok("backup", "--to", str(backups))
    before = in_database(own_stack, GONE)
    assert {
        "telemetry.telemetry_events",
        "telemetry.metric_points",
        "telemetry.event_content",
        "telemetry.session_labels",
        "telemetry.sessions_daily_store",
        "system.query_log",
    } <= set(before)
    kept = own_stack.member(
        f"SELECT count(), sum(cost_usd) FROM telemetry_events WHERE session_id = '{STAYS}'"
    )

    said = own_stack.run("purge", "--session", GONE, "--dry-run")
    assert said.returncode == 0
    for where in ("telemetry.telemetry_events", "queue/aside/aside", str(archive), str(backups)):
        assert where in said.stderr
    assert in_database(own_stack, GONE).keys() >= before.keys()
    assert own_stack.run("purge", "--session", GONE).returncode == 2, "nobody is there to ask"

    done = json.loads(own_stack.ok("purge", "--session", GONE, "--yes", "--json"))
    assert all(place["after"] == 0 for place in done["places"])
    assert done["copies"] == [], "the backup was rewritten"
    assert in_database(own_stack, GONE) == {}
    assert in_files(own_stack.home.path, GONE) == []
    assert in_files(tmp_path, GONE) == []
    assert any(STAYS in each.read_text() for each in file.parent.glob("*.jsonl"))
    assert (
        own_stack.member(
            f"SELECT count(), sum(cost_usd) FROM telemetry_events WHERE session_id = '{STAYS}'"
        )
        == kept
    )

    # What comes late or again is kept out, and counted; what others send is not.
    for request in gone:
        assert own_stack.post(request.signal, json.dumps(request.body).encode()) == 200
    late = made.request(made.log(GONE), made.log(STAYS, attributes={"event.sequence": 99_999}))
    assert own_stack.post("logs", late) == 200
    count = f"SELECT count() FROM telemetry_events WHERE session_id = '{STAYS}'"
    until(lambda: own_stack.member(count) == [(kept[0][0] + 1,)])
    until(lambda: own_stack.metric("otelcol_exporter_queue_size") == 0)
    assert own_stack.admin(
        "SELECT count() FROM telemetry.telemetry_events WHERE session_id = {session:String} "
        "SETTINGS log_queries = 0",
        session=GONE,
    ) == [(0,)]
    sent = sum(1 for each in gone for _ in (*recorded.events(each), *recorded.points(each)))
    until(lambda: own_stack.member("SELECT sum(records) FROM kept_out") == [(sent + 1,)])

    # A restore does not bring it back either.
    own_stack.ok("restore", "--from", str(backups), "--yes")
    assert in_database(own_stack, GONE) == {}


def governance(stack: Stack, *words: str) -> dict[str, Any]:
    found = json.loads(stack.ok("report", "governance", "--format", "json", *words))
    assert isinstance(found, dict)
    return found


def test_governance_shows_open_requests_and_their_age_without_names(own_stack: Stack) -> None:
    own_stack.ok("up")
    before = governance(own_stack)
    assert before["open_purges"] == 0
    member = own_stack.home.secrets().member
    number = json.loads(own_stack.ok("purge", "--member", member, "--request", "--json"))["number"]
    old = datetime.now(UTC) - timedelta(days=33)
    own_stack.admin(
        "INSERT INTO telemetry.purge_requests (id, member, session_id, requested_at) "
        "VALUES ('0123456789ab', 'm-somebodyelse', '', {at:DateTime})",
        at=f"{old:%Y-%m-%d %H:%M:%S}",
    )
    found = governance(own_stack)
    assert found["open_purges"] == 2
    late, new = found["sections"]["purges"][:2]
    assert (late["id"], late["what"], late["days"], late["days_left"]) == (
        ("0123456789ab", "member", 33, -3)
    )
    assert (new["id"], new["days"], new["days_left"]) == (number, 0, 30)
    assert found["notes"][:2] == [
        "2 open purge request(s), for 0 to 33 days: `telemetry purge`.",
        "1 of them are older than the policy promises.",
    ]
    assert member not in json.dumps(found)
    assert "m-somebodyelse" not in json.dumps(found)
    assert {"classes", "deletions", "kept_out"} <= found["sections"].keys()
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert governance(own_stack, "--day", str(yesterday))["open_purges"] == 1, "as of then"

    own_stack.ok("purge", "--member", "m-somebodyelse", "--yes")
    done = governance(own_stack)
    assert done["open_purges"] == 1
    [ended] = [each for each in done["sections"]["purges"] if each["id"] == "0123456789ab"]
    assert (ended["what"], ended["days"], ended["days_left"]) == (None, 33, None)
    assert governance(own_stack, "--day", str(yesterday))["open_purges"] == 1
    assert "Purge requests" in own_stack.ok("report", "governance")
    refused = own_stack.run("report", "governance", "--month", "2026-11")
    assert refused.returncode == 2


def test_the_evidence_says_what_and_not_who(own_stack: Stack) -> None:
    own_stack.ok("up")
    own_stack.send(events(GONE))
    number = json.loads(own_stack.ok("purge", "--session", GONE, "--request", "--json"))["number"]
    again = json.loads(own_stack.ok("purge", "--session", GONE, "--request", "--json"))["number"]
    assert again == number, "asking twice is asking once"
    [(what, done_at, days)] = own_stack.member("SELECT what, done_at, days FROM purge_status")
    assert (what, done_at, days) == ("session", None, 0)
    done = json.loads(own_stack.ok("purge", "--session", GONE, "--yes", "--json"))
    assert done["number"] == number
    file = Path(done["evidence"])
    content = json.loads(own_stack.ok("purge", "--verify", str(file), "--json"))
    assert GONE not in file.read_text()
    key = own_stack.home.secrets().pseudonym_key
    assert content["hash"] == purge_hash(key, GONE)
    [events_place] = [p for p in content["places"] if p["where"].endswith(names.EVENTS)]
    assert events_place["before"] > 0
    assert events_place["after"] == 0
    [(what, done_at, _)] = own_stack.member("SELECT what, done_at, days FROM purge_status")
    assert what == ""
    assert done_at is not None
    file.write_text(file.read_text().replace(f'"before": {events_place["before"]}', '"before": 1'))
    forged = own_stack.run("purge", "--verify", str(file))
    assert forged.returncode == 1
    assert "not as it was signed" in forged.stderr


def test_everything_of_a_member_is_gone_and_what_they_do_then_is_kept(own_stack: Stack) -> None:
    own_stack.ok("up")
    member = own_stack.home.secrets().member
    old = events(GONE, ago_s=86_400)
    own_stack.send(old)
    own_stack.ok("query", "sessions")
    own_stack.admin(
        "INSERT INTO telemetry.daily_metrics_kept (day, team, members, cost_usd, version, "
        "written_at) VALUES (today() - 200, 'of one', 1, 5, now(), now64(3)), "
        "(today() - 200, 'of three', 3, 7, now(), now64(3))"
    )
    [(began,)] = own_stack.admin("SELECT toString(now())")
    done = json.loads(own_stack.ok("purge", "--member", "me", "--yes", "--json"))
    # The id goes on being this member's login.
    logs = {"query_log": "system", "session_log": "system", "access_log": "telemetry"}
    assert set(in_database(own_stack, member)) <= {f"{logs[log]}.{log}" for log in logs}
    for log, database in logs.items():
        time = "ts" if database == "telemetry" else "event_time"
        assert own_stack.admin(
            f"SELECT count() FROM {database}.{log} WHERE user = {{member:String}} "
            f"AND {time} < toDateTime({{began:String}})",
            member=member,
            began=began,
        ) == [(0,)], log
    [(numbered,)] = own_stack.admin(
        "SELECT count() FROM system.query_log WHERE user = {number:String} AND query = ''",
        number=f"purged-{done['number']}",
    )
    assert numbered > 0
    assert own_stack.member("SELECT team FROM daily_metrics") == [("of three",)]

    for request in old:
        assert own_stack.post(request.signal, json.dumps(request.body).encode()) == 200
    own_stack.send(events(STAYS))
    assert own_stack.member("SELECT DISTINCT session_id FROM telemetry_events") == [(STAYS,)]


def test_nothing_is_said_to_be_gone_while_the_queue_cannot_run_empty(own_stack: Stack) -> None:
    own_stack.ok("up")
    own_stack.send(events(GONE))
    supervise.Supervisor(Layout(own_stack.home)).halt("collector")
    done = own_stack.run("purge", "--session", GONE, "--yes")
    assert done.returncode == 1
    assert "`telemetry resume` or `telemetry up`, then purge again" in done.stderr
    assert not own_stack.home.evidence.exists()
    own_stack.ok("up")
    own_stack.ok("purge", "--session", GONE, "--yes")
    assert in_database(own_stack, GONE) == {}


def test_a_request_that_waits_too_long_is_a_problem(own_stack: Stack) -> None:
    own_stack.ok("up")
    own_stack.ok("purge", "--member", "me", "--request")
    assert own_stack.run("status").returncode == 0
    own_stack.admin(
        "INSERT INTO telemetry.purge_requests SELECT id, member, session_id, "
        "requested_at - INTERVAL 22 DAY, done_at, now64(3) + 1 FROM telemetry.purge_requests"
    )
    status = json.loads(own_stack.run("status", "--json").stdout)
    assert any("a purge was asked for 22 days ago" in problem for problem in status["problems"])


@pytest.mark.parametrize("words", [(), ("--member", "a", "--session", "b")])
def test_what_is_to_go_must_be_said(own_stack: Stack, words: Sequence[str]) -> None:
    done = own_stack.run("purge", *words)
    assert done.returncode == 2
    assert "--session ID" in done.stderr
