"""SQL that tries to read, change, hide or exhaust what it may not, and what the audit says of it.

Rows of others hold a word that nobody else may ever be shown, not even in an error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.identity import Login
from infra.settings import Settings
from infra.warehouse import access, names
from scripts import toolchain
from tests.conftest import until
from tests.shared import EDGE, Answer, Store, login

pytestmark = pytest.mark.stack

MEMBER, OTHER, THIRD = login(1, team="red"), login(2, team="red"), login(3, team="blue")
COORDINATOR, OF_RED = login(11, "coordinator"), login(12, "coordinator", "red")
AUDITOR, BUSY = login(21, "auditor"), login(22, "auditor")
LOGINS = (MEMBER, OTHER, THIRD, COORDINATOR, OF_RED, AUDITOR, BUSY)
WORD = "xylophone"
"""Stands in rows of others."""


def event(member: str, number: int, **changes: Any) -> dict[str, Any]:
    word = "own" if member == MEMBER.id else WORD
    return {
        "ts": f"2026-11-20 10:00:{number % 60:02}.{number // 60:03}",
        "event": "tool_result",
        "member": member,
        "session_id": f"{word}-session",
        "prompt_id": f"{word}-prompt",
        "request_id": f"{word}-request",
        "error": f"{word}-error",
        "tool_name": f"{word}-tool",
        "chapter": f"{word}-chapter",
        "git_branch": f"{word}-branch",
        "seq": number,
        "team": "red",
        "success": False,
        **changes,
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    programs = toolchain.programs(Settings())
    made = Store(tmp_path_factory.mktemp("attacked"), programs, LOGINS)
    made.start()
    rows = [event(each.id, number) for each in LOGINS[:3] for number in range(40)]
    # So many that they fill parts of an index of their own.
    rows += [event(OTHER.id, number, event="user_prompt") for number in range(20_000)]
    made.insert(names.EVENTS, rows)
    points = [
        {"ts": row["ts"], "metric": "cost", "value": 1, "member": row["member"],
         "session_id": row["session_id"], "record_hash": number}
        for number, row in enumerate(rows[:120])
    ]  # fmt: skip
    made.insert(names.METRIC_POINTS, points)
    made.refresh()
    yield made
    made.stop()


def audited(store: Store, user: str, sql: str) -> list[str]:
    """What the audit says of a query, from where it came included."""
    store.audit()
    rows = store.admin(
        f"SELECT result FROM telemetry.{names.ACCESS_LOG} WHERE user = {{user:String}} "
        f"AND address = '{EDGE}' AND query_hash = normalizedQueryHash({{asked:String}})",
        user=user,
        asked=sql,
    )
    return [row[0] for row in rows]


# --- what a member may ask, and gets their own of

OWN_ONLY = {
    "a condition": "SELECT count() FROM telemetry_events WHERE member != currentUser()",
    "or true": "SELECT countIf(member != currentUser()) FROM telemetry_events WHERE 1 OR 1",
    "a join": "SELECT count() FROM telemetry_events AS a JOIN telemetry_events AS b "
    "ON a.team = b.team WHERE b.member != currentUser()",
    "a subquery": "SELECT count() FROM (SELECT member FROM telemetry_events) "
    "WHERE member != currentUser()",
    "a union": "SELECT countIf(member != currentUser()) FROM (SELECT member FROM telemetry_events "
    "UNION ALL SELECT member FROM metric_points)",
    "prewhere": "SELECT count() FROM telemetry_events PREWHERE member != currentUser()",
    "final": "SELECT count() FROM telemetry_events FINAL WHERE member != currentUser()",
    "merge()": "SELECT count() FROM merge('telemetry', 'events|points') "
    "WHERE member != currentUser()",
    "merge() of all": "SELECT countIf(member NOT IN ('', currentUser())) "
    "FROM merge('telemetry', '.*')",
    "limit by": "SELECT count() FROM (SELECT member FROM telemetry_events LIMIT 1 BY member) "
    "WHERE member != currentUser()",
    "an aggregate over all": "SELECT uniqExact(member) - 1 FROM telemetry_events",
    "the largest": "SELECT countIf(m != currentUser()) FROM (SELECT max(member) AS m "
    "FROM telemetry_events)",
    "a window": "SELECT countIf(m != currentUser()) FROM (SELECT leadInFrame(member, 1, "
    "currentUser()) OVER (ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) "
    "AS m FROM telemetry_events)",
    "view()": "SELECT count() FROM view(SELECT * FROM telemetry_events) "
    "WHERE member != currentUser()",
    "viewIfPermitted()": "SELECT count() FROM viewIfPermitted(SELECT hash FROM "
    "telemetry.suppressions ELSE null('hash String'))",
    "another's label": "SELECT count() FROM session_labels WHERE member != currentUser()",
    "an index": "SELECT count() FROM mergeTreeIndex('telemetry', 'telemetry_events')",
    "marks of an index": "SELECT count() FROM mergeTreeIndex('telemetry', 'telemetry_events', "
    "with_marks = true)",
    "an index in a scalar": "SELECT length((SELECT groupArray(member) FROM "
    "mergeTreeIndex('telemetry', 'telemetry_events')))",
    "an index's error": "SELECT count(throwIf(member = 'm-0000000002')) FROM "
    "mergeTreeIndex('telemetry', 'telemetry_events')",
    "sizes": "SELECT countIf(total_rows > 0 OR total_bytes > 0) FROM system.tables",
    "sizes of columns": "SELECT sum(data_compressed_bytes + data_uncompressed_bytes + marks_bytes) "
    "FROM system.columns",
    "throwIf": "SELECT count(throwIf(error LIKE 'xylo%')) * 0 FROM telemetry_events",
    "division": "SELECT sum(intDiv(1, error NOT LIKE 'xylo%')) * 0 FROM telemetry_events",
    "throwIf pushed down": "SELECT count() FROM (SELECT * FROM telemetry_events "
    "WHERE throwIf(session_id LIKE 'xylo%'))",
}


@pytest.mark.parametrize("name", OWN_ONLY)
def test_a_member_gets_nothing_of_others(store: Store, name: str) -> None:
    # Of all tables together one may be replaced just then, which is an error and no answer.
    answer = until(lambda: (found := store.ask(MEMBER.id, OWN_ONLY[name])).status == 200 and found)
    assert answer.rows == [["0"]]
    # The log may get it a moment after the answer was given.
    until(lambda: "ok" in audited(store, MEMBER.id, OWN_ONLY[name]))


def test_a_placeholder_is_a_value_and_nothing_else(store: Store) -> None:
    asked = "SELECT count() FROM telemetry_events WHERE member = {m:String}"
    for value in (OTHER.id, "' OR member != '"):
        assert store.ask(MEMBER.id, asked, url={"param_m": value}).rows == [["0"]]


def test_an_estimate_tells_nothing_of_others(store: Store) -> None:
    asked = "EXPLAIN ESTIMATE SELECT * FROM telemetry_events WHERE member = 'm-0000000002'"
    assert store.ask(MEMBER.id, asked).rows == [["telemetry", names.EVENTS, "0", "0", "0"]]


READABLE = [*names.OWN_EVENTS, *names.OWN_ROWS, *names.SHARED]


@pytest.mark.parametrize("table", READABLE)
def test_whatever_a_member_may_read_shows_their_own(store: Store, table: str) -> None:
    whole = store.ask(MEMBER.id, f"SELECT * FROM {table} FORMAT JSONEachRow")
    assert whole.status == 200, whole.text
    assert WORD not in whole.text
    assert OTHER.id not in whole.text
    totals = store.ask(MEMBER.id, f"SELECT count() FROM {table} GROUP BY 1 WITH TOTALS")
    assert WORD not in totals.text


def test_rows_of_others_are_there_to_be_found(store: Store) -> None:
    """So that what is above can fail."""
    for table in (names.EVENTS, "usage_daily_store", "tools_daily", "sessions"):
        found = store.admin(f"SELECT count() FROM telemetry.{table} WHERE member != 'm-0000000001'")
        assert (found[0][0] == "0") == (table == "usage_daily_store"), table
    assert store.ask(MEMBER.id, "SELECT count() FROM telemetry_events").rows == [["40"]]


def test_no_function_shows_the_keys_of_a_table(store: Store) -> None:
    """A new version of the engine may have more of them."""
    there = store.admin("SELECT name FROM system.table_functions WHERE name LIKE 'mergeTree%'")
    assert {row[0] for row in there} <= set(access.INDEX_FUNCTIONS)


# --- what is refused, to whom


@dataclass(frozen=True)
class Refused:
    """A query, and whether the audit calls it denied or failed."""

    sql: str
    audit: str = "denied"
    url: dict[str, str] = field(default_factory=dict)


EVERYBODY: dict[str, Refused] = {
    "the ingest's table": Refused("SELECT * FROM telemetry.otel_logs_in"),
    "suppressions": Refused("SELECT * FROM telemetry.suppressions"),
    "days of all": Refused("SELECT * FROM telemetry.daily_metrics"),
    "the query log": Refused("SELECT * FROM system.query_log"),
    "the session log": Refused("SELECT * FROM system.session_log"),
    "processes": Refused("SELECT * FROM system.processes"),
    "parts": Refused("SELECT * FROM system.parts"),
    "users": Refused("SELECT * FROM system.users"),
    "filters": Refused("SELECT * FROM system.row_policies"),
    "quotas of others": Refused("SELECT * FROM system.quotas_usage"),
    "server settings": Refused("SELECT * FROM system.server_settings"),
    "information_schema": Refused("SELECT * FROM information_schema.tables"),
    "INFORMATION_SCHEMA": Refused("SELECT * FROM INFORMATION_SCHEMA.COLUMNS"),
    "file()": Refused("SELECT * FROM file('/etc/hosts', 'LineAsString')"),
    "url()": Refused("SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')"),
    "remote()": Refused("SELECT * FROM remote('127.0.0.1', 'telemetry', 'telemetry_events')"),
    "mysql()": Refused("SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')"),
    "cluster()": Refused("SELECT * FROM cluster('default', 'system.one')", "failed"),
    "s3()": Refused("SELECT * FROM s3('http://127.0.0.1:1/bucket/key', 'TSV', 'a String')"),
    "executable()": Refused("SELECT * FROM executable('x', 'TSV', 'a String')"),
    "loop()": Refused("SELECT * FROM loop('system', 'one') LIMIT 1"),
    "a dictionary": Refused("SELECT dictGet('telemetry.d', 'a', 1)", "failed"),
    "introspection": Refused("SELECT addressToLine(1)"),
    "write a row": Refused("INSERT INTO telemetry.telemetry_events (event) SELECT 'x'"),
    "write what is read": Refused("INSERT INTO telemetry.session_labels SELECT * FROM "
                                  "telemetry.session_labels"),
    "write a file": Refused("INSERT INTO FUNCTION file('x.csv', 'CSV', 'a UInt8') SELECT 1"),
    "into outfile": Refused("SELECT 1 INTO OUTFILE 'x'", "failed"),
    "a table": Refused("CREATE TABLE telemetry.x (a UInt8) ENGINE = Memory"),
    "a temporary table": Refused("CREATE TEMPORARY TABLE x (a UInt8)"),
    "a view": Refused("CREATE VIEW telemetry.x AS SELECT 1"),
    "a function": Refused("CREATE FUNCTION x AS y -> y"),
    "a user": Refused("CREATE USER x"),
    "a filter": Refused("CREATE ROW POLICY x ON telemetry.telemetry_events USING 1 TO ALL"),
    "a grant": Refused("GRANT SELECT ON *.* TO CURRENT_USER"),
    "alter": Refused("ALTER TABLE telemetry.telemetry_events DELETE WHERE 1"),
    "drop": Refused("DROP TABLE telemetry.telemetry_events"),
    "truncate": Refused("TRUNCATE TABLE telemetry.telemetry_events"),
    "optimize": Refused("OPTIMIZE TABLE telemetry.telemetry_events"),
    "backup": Refused("BACKUP TABLE telemetry.telemetry_events TO File('/tmp/x')"),
    "kill": Refused("KILL QUERY WHERE 1"),
    "flush": Refused("SYSTEM FLUSH LOGS"),
    "stop": Refused("SYSTEM STOP VIEW telemetry.access_log_keep"),
    "how a hidden table is made": Refused("SHOW CREATE TABLE telemetry.suppressions"),
    "how a view of the audit is made": Refused("SHOW CREATE TABLE telemetry.access_log_keep"),
    "describe a hidden table": Refused("DESCRIBE TABLE telemetry.suppressions"),
    "explain a hidden table": Refused("EXPLAIN SELECT * FROM telemetry.suppressions"),
    "estimate a hidden table": Refused("EXPLAIN ESTIMATE SELECT * FROM telemetry.suppressions"),
    "explain a log": Refused("EXPLAIN SELECT * FROM system.query_log"),
    "list users": Refused("SHOW USERS"),
    "list grants of others": Refused("SHOW GRANTS FOR telemetry_admin"),
    "list queries": Refused("SHOW PROCESSLIST"),
    "be someone else": Refused("EXECUTE AS telemetry_admin SELECT 1"),
    "take a role": Refused("SET ROLE telemetry_admin", "failed"),
    "not be logged": Refused("SELECT 1 SETTINGS log_queries = 0"),
    "not be logged, by a statement": Refused("SET log_queries = 0"),
    "log long ones only": Refused("SELECT 1 SETTINGS log_queries_min_query_duration_ms = 99999"),
    "log some": Refused("SELECT 1 SETTINGS log_queries_probability = 0"),
    "log errors only": Refused("SELECT 1 SETTINGS log_queries_min_type = 'EXCEPTION_BEFORE_START'"),
    "cut what is logged": Refused("SELECT 1 SETTINGS log_queries_cut_to_length = 0"),
    "be told of the server": Refused("SELECT 1 SETTINGS send_logs_level = 'trace'"),
    "not final": Refused("SELECT 1 SETTINGS final = 0"),
    "other filters": Refused("SELECT 1 SETTINGS additional_table_filters = {'a': '1'}"),
    "the old planner": Refused("SELECT 1 SETTINGS enable_analyzer = 0"),
    "an answer kept for others": Refused("SELECT 1 SETTINGS use_query_cache = 1, "
                                         "query_cache_share_between_users = 1"),
    "write after all": Refused("SELECT 1 SETTINGS readonly = 0"),
    "more time": Refused("SELECT 1 SETTINGS max_execution_time = 61"),
    "no limit of time": Refused("SELECT 1 SETTINGS max_execution_time = 0"),
    "more memory": Refused("SELECT 1 SETTINGS max_memory_usage = 9000000000"),
    "no limit of memory": Refused("SELECT 1 SETTINGS max_memory_usage = 0"),
    "more rows": Refused("SELECT 1 SETTINGS max_rows_to_read = 0"),
    "more of an answer": Refused("SELECT 1 SETTINGS max_result_rows = 0"),
    "cut off instead of refused": Refused("SELECT 1 SETTINGS read_overflow_mode = 'break'"),
    "more threads": Refused("SELECT 1 SETTINGS max_threads = 64"),
    "more at once": Refused("SELECT 1 SETTINGS max_concurrent_queries_for_user = 0"),
    "another's profile": Refused("SELECT 1 SETTINGS profile = 'telemetry_admin'"),
    "all numbers": Refused("SELECT count() FROM numbers(1000000000000)", "failed"),
    "a huge join": Refused("SELECT count() FROM numbers(300000) AS a, numbers(300000) AS b "
                           "WHERE cityHash64(a.number, b.number) = 1 "
                           "SETTINGS max_execution_time = 1", "failed"),
    "a huge array": Refused("SELECT groupArray(number) FROM numbers(1000000000)", "failed"),
    "a huge answer": Refused("SELECT number FROM numbers(2000000)", "failed"),
    "a long sleep": Refused("SELECT sleepEachRow(1) FROM numbers(100)", "failed"),
    "a value in an error": Refused("SELECT CAST(error, 'UInt8') FROM telemetry.telemetry_events",
                                   "failed"),
    "a wrong placeholder": Refused("SELECT {x:UInt8}", "failed", {"param_x": "1; DROP TABLE x"}),
}  # fmt: skip
OF_ROLE: dict[str, dict[str, Refused]] = {
    "member": {
        "the team's tables": Refused("SELECT * FROM telemetry_team.usage_daily"),
        "the audit": Refused("SELECT * FROM telemetry.access_log"),
        "the edge's log": Refused("SELECT * FROM telemetry.edge_log"),
        "the retention reports": Refused("SELECT * FROM telemetry.retention_reports"),
    },
    "coordinator": {
        "events": Refused("SELECT * FROM telemetry.telemetry_events"),
        "a summary": Refused("SELECT * FROM telemetry.usage_daily"),
        "a summary's store": Refused("SELECT * FROM telemetry.usage_daily_store"),
        "points": Refused("SELECT * FROM telemetry.metric_points"),
        "merge()": Refused("SELECT * FROM merge('telemetry', '.*')", "failed"),
        "an index": Refused("SELECT * FROM mergeTreeIndex('telemetry', 'telemetry_events')"),
        "what writes a table": Refused("SELECT * FROM telemetry_team.tools_daily_refresh"),
        "how it is written": Refused("SHOW CREATE TABLE telemetry_team.tools_daily_refresh"),
        "the audit": Refused("SELECT * FROM telemetry.access_log"),
    },
    "auditor": {
        "events": Refused("SELECT * FROM telemetry.telemetry_events"),
        "the team's tables": Refused("SELECT * FROM telemetry_team.usage_daily"),
        "an index": Refused("SELECT * FROM mergeTreeIndex('telemetry', 'telemetry_events')"),
    },
}
CASES = [
    (who, name)
    for who in (MEMBER, COORDINATOR, AUDITOR)
    for name in (*EVERYBODY, *OF_ROLE[who.role])
]


@dataclass(frozen=True)
class Asked:
    """What came of all of them."""

    answers: dict[tuple[str, str], Answer]
    told: set[tuple[str, str, str]]
    """User, hash of the query and result, as the audit has them."""


@pytest.fixture(scope="module")
def asked(store: Store) -> Asked:
    """All of them, asked once, and the audit after the last."""
    answers: dict[tuple[str, str], Answer] = {}
    for who, name in CASES:
        case = EVERYBODY.get(name) or OF_ROLE[who.role][name]
        answers[who.role, name] = store.ask(
            who.id, case.sql, url={"wait_end_of_query": "1", **case.url}
        )
    store.audit()
    rows = store.admin(
        f"SELECT DISTINCT user, query_hash, result FROM telemetry.{names.ACCESS_LOG} "
        f"WHERE address = '{EDGE}'"
    )
    return Asked(answers, {(row[0], row[1], row[2]) for row in rows})


@pytest.mark.parametrize(("who", "name"), CASES, ids=[f"{who.role}-{name}" for who, name in CASES])
def test_it_is_refused_and_on_the_record(store: Store, asked: Asked, who: Login, name: str) -> None:
    case = EVERYBODY.get(name) or OF_ROLE[who.role][name]
    answer = asked.answers[who.role, name]
    assert answer.code, answer.text[:200]
    assert WORD not in answer.text
    [[hashed]] = store.admin("SELECT normalizedQueryHash({asked:String})", asked=case.sql)
    said = {result for user, query, result in asked.told if (user, query) == (who.id, hashed)}
    assert said & {"denied", "failed"}, "the audit has it"
    if who.role == "member":
        assert case.audit in said


# --- what is refused before it is a query

BEFORE = {
    "not be logged": {"log_queries": "0"},
    "write": {"readonly": "0"},
    "logs": {"send_logs_level": "trace"},
    "a role": {"role": "telemetry_coordinator"},
    "headers": {"http_response_headers": "{'a': 'b'}"},
    "time": {"max_execution_time": "0"},
}


def test_what_a_url_may_not_ask_for_is_refused_and_on_the_record(store: Store) -> None:
    def counted() -> int:
        store.audit()
        [[count]] = store.admin(
            f"SELECT count() FROM telemetry.{names.ACCESS_LOG} WHERE user = '{OTHER.id}' "
            f"AND action = 'request' AND result = 'denied' AND address = '{EDGE}'"
        )
        return int(count)

    before = counted()
    for url in BEFORE.values():
        assert store.ask(OTHER.id, "SELECT 1", url=url).code
        assert store.ask(OTHER.id, "SELECT 1").code == 0
    time.sleep(6)  # the audit waits for queries that begin late
    assert counted() - before == len(BEFORE)


def test_a_profile_in_the_url_changes_nothing(store: Store) -> None:
    for name in ("default", "telemetry_admin"):
        asked = "SELECT getSetting('readonly'), getSetting('log_queries')"
        answer = store.ask(MEMBER.id, asked, url={"profile": name})
        assert answer.code or answer.rows == [["1", "true"]]


def test_another_database_in_the_url_shows_no_more(store: Store) -> None:
    for database in ("system", names.TEAM_DATABASE):
        url = {"database": database}
        assert store.ask(MEMBER.id, "SELECT * FROM query_log", url=url).code
        assert store.ask(MEMBER.id, "SELECT * FROM usage_daily", url=url).code


def test_a_session_of_another_is_not_theirs(store: Store) -> None:
    url = {"session_id": "one", "session_timeout": "60"}
    assert store.ask(OTHER.id, "SET log_comment = 'xylophone'", url=url).code == 0
    seen = store.ask(MEMBER.id, "SELECT getSetting('log_comment')", url=url)
    assert WORD not in seen.text


def test_a_query_of_another_is_not_replaced(store: Store) -> None:
    url = {"query_id": "one", "replace_running_query": "1"}
    assert store.ask(MEMBER.id, "SELECT 1", url=url).code


def test_a_table_sent_along_writes_nothing(store: Store) -> None:
    """External data make a temporary table, of that request only."""
    url = {"query": "SELECT * FROM x", "x_structure": "a String"}
    body = '--B\r\nContent-Disposition: form-data; name="x"; filename="x"\r\n\r\n1\r\n--B--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    store.ask(MEMBER.id, body, url=url, headers=headers)
    assert store.ask(MEMBER.id, "SELECT * FROM x").code == 60


def test_a_wrong_password_is_on_the_record_without_what_was_typed(store: Store) -> None:
    assert store.ask(MEMBER.id, "SELECT 1", password="wrong").status == 403
    assert store.ask("my-password-by-mistake", "SELECT 1").status == 403
    store.audit()
    rows = store.admin(
        f"SELECT DISTINCT user, error FROM telemetry.{names.ACCESS_LOG} "
        f"WHERE action = 'login' AND address = '{EDGE}' ORDER BY user"
    )
    assert rows == [["(unknown)", "AUTHENTICATION_FAILED"], [MEMBER.id, "AUTHENTICATION_FAILED"]]


def test_programs_come_from_their_own_addresses(tmp_path: Path) -> None:
    """Where a request comes from is what the edge says."""
    own = Store(tmp_path, toolchain.programs(Settings()), [MEMBER])
    own.networks = access.Networks(admin=("127.0.0.1", "35.235.240.0/20"), ingest=("172.30.77.4",))
    own.start()
    try:
        for user, password, address in (
            (names.ADMIN_USER, own.secrets.admin_password, "35.235.240.9"),
            (names.INGEST_USER, own.secrets.ingest_password, "172.30.77.4"),
        ):
            headers = {"X-Forwarded-For": address}
            assert own.ask(user, "SELECT 1", password=password, headers=headers).code == 0
            # The last one counts: it is the edge's, whatever came before.
            for claimed in (EDGE, f"{address}, {EDGE}"):
                headers = {"X-Forwarded-For": claimed}
                assert own.ask(user, "SELECT 1", password=password, headers=headers).code == 516
        assert own.ask(MEMBER.id, "SELECT 1").code == 0
    finally:
        own.stop()


def test_a_coordinator_of_a_team_sees_that_team(store: Store) -> None:
    asked = "SELECT DISTINCT team FROM usage_daily"
    store.insert(
        names.EVENTS,
        [event(MEMBER.id, 100 + n, event="api_request", team=team, cost_usd="1")
         for n, team in enumerate(("red", "blue", ""))],
    )  # fmt: skip
    store.refresh()
    assert sorted(store.ask(COORDINATOR.id, asked).rows) == [[""], ["blue"], ["red"]]
    assert store.ask(OF_RED.id, asked).rows == [["red"]]


def test_errors_are_counted_until_there_are_too_many(store: Store) -> None:
    limit = access.LIMITS[BUSY.role].errors
    answers = [
        store.ask(BUSY.id, "SELECT throwIf(number = 0) FROM numbers(1)") for _ in range(limit + 1)
    ]
    assert {answer.code for answer in answers} == {395}
    after = "SELECT count() FROM access_log"
    assert store.ask(BUSY.id, after).code == 201
    assert store.ask(BUSY.id, after, url={"quota_key": "fresh"}).code == 201
    assert store.ask(AUDITOR.id, after).code == 0, "others go on"
    assert "denied" in audited(store, BUSY.id, after)
