"""Who may do what in ClickHouse."""

from __future__ import annotations

import json

import pytest
import urllib3

from infra.warehouse import names
from tests import recorded
from tests.conftest import Stack, until

pytestmark = pytest.mark.stack


def ask(stack: Stack, user: str, password: str, sql: str) -> tuple[int, str]:
    headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
    address = f"http://127.0.0.1:{stack.settings.ports.clickhouse_http}/"
    reply = urllib3.request("POST", address, body=sql.encode(), headers=headers, retries=False)
    return reply.status, reply.data.decode(errors="replace")


@pytest.fixture(autouse=True)
def events(stack: Stack) -> None:
    """There is something to see."""
    [request] = recorded.shifted([next(recorded.requests("logs"))])
    assert stack.post("logs", json.dumps(request.body).encode()) == 200
    until(lambda: stack.member("SELECT count() FROM telemetry_events")[0][0] > 0)


@pytest.mark.parametrize("user", [names.ADMIN_USER, names.INGEST_USER, names.VIEWS_USER])
def test_no_user_of_ours_logs_in_without_a_password(stack: Stack, user: str) -> None:
    assert ask(stack, user, "", "SELECT 1")[0] >= 400


def test_the_engines_own_user_without_a_password_reaches_no_data_and_no_file(stack: Stack) -> None:
    """What stays open on a machine that several people use."""
    for sql in (
        f"SELECT * FROM telemetry.{names.EVENTS}",
        "SELECT * FROM file('/etc/hosts', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        # A function, which asks for no right.
        "SELECT file('/etc/hosts')",
        "SELECT file('/etc/hosts') SETTINGS max_ast_elements = 0",
        "SET max_ast_elements = 0",
        "CREATE TABLE t (x UInt8) ENGINE = Memory",
        "SELECT * FROM system.query_log",
    ):
        status, said = ask(stack, "default", "", sql)
        assert status >= 400, f"{sql}: {said}"


def test_the_ingest_user_writes_and_reads_nothing(stack: Stack) -> None:
    password = stack.home.secrets().ingest_password
    for table in (names.EVENTS, names.METRIC_POINTS, names.LOGS_LANDING):
        assert ask(stack, names.INGEST_USER, password, f"SELECT * FROM telemetry.{table}")[0] >= 400
    written = f"INSERT INTO telemetry.{names.EVENTS} (event) VALUES ('forged')"
    assert ask(stack, names.INGEST_USER, password, written)[0] >= 400


def test_a_member_sees_their_own_rows_only(stack: Stack) -> None:
    secrets = stack.home.secrets()
    forged = (
        f"INSERT INTO telemetry.{names.EVENTS} (ts, event, member, session_id) "
        "VALUES (now64(3), 'user_prompt', 'm-someoneelse', 'theirs')"
    )
    assert ask(stack, names.ADMIN_USER, secrets.admin_password, forged)[0] == 200
    everyone = stack.admin("SELECT uniqExact(member) FROM telemetry.telemetry_events")
    assert everyone == [(2,)]
    assert stack.member("SELECT DISTINCT member FROM telemetry_events") == [(secrets.member,)]
    leak = "SELECT throwIf(session_id = 'theirs') FROM telemetry.telemetry_events FORMAT Null"
    assert ask(stack, secrets.member, secrets.member_password, leak)[0] == 200, "no leak by error"


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO telemetry.telemetry_events (event) VALUES ('x')",
        "ALTER TABLE telemetry.telemetry_events DELETE WHERE 1",
        "SELECT count() FROM telemetry.telemetry_events SETTINGS final = 0",
        "SELECT 1 SETTINGS log_queries = 0",
        "SELECT * FROM system.query_log",
        "SELECT * FROM file('/etc/hosts', 'LineAsString')",
    ],
)
def test_a_member_changes_nothing_and_stays_on_the_record(stack: Stack, sql: str) -> None:
    secrets = stack.home.secrets()
    assert ask(stack, secrets.member, secrets.member_password, sql)[0] >= 400


def test_every_column_that_the_rules_promise_is_there(stack: Stack) -> None:
    from infra.collector import rules

    there = {
        name
        for (name,) in stack.admin(
            "SELECT DISTINCT name FROM system.columns WHERE database = 'telemetry' "
            "AND table IN ('telemetry_events', 'metric_points')"
        )
    }
    promised = {rule.column for rule in rules.attributes() if rule.column}
    assert promised <= there


def test_curl_gets_its_password_from_a_file(stack: Stack) -> None:
    netrc = (stack.home.secrets_folder / "netrc").read_text()
    secrets = stack.home.secrets()
    assert netrc == f"machine 127.0.0.1 login {secrets.member} password {secrets.member_password}\n"


def test_a_member_need_not_name_the_database(stack: Stack) -> None:
    secrets = stack.home.secrets()
    asked = "SELECT count() > 0 FROM telemetry_events"
    assert ask(stack, secrets.member, secrets.member_password, asked) == (200, "1\n")


def test_a_server_that_another_user_silenced_is_back_by_itself(own_stack: Stack) -> None:
    """The engine lets its user without a password stop the listening."""
    own_stack.ok("up")
    before = own_stack.pid("clickhouse")
    ask(own_stack, "default", "", "SYSTEM STOP LISTEN QUERIES ALL")
    until(lambda: own_stack.pid("clickhouse") not in (0, before), 60)
    until(lambda: own_stack.run("status").returncode == 0, 60)


def test_the_audit_holds_what_people_ask_and_not_what_the_server_does_by_itself(
    stack: Stack,
) -> None:
    stack.admin("SYSTEM REFRESH VIEW telemetry.usage_daily_refresh")
    stack.admin("SYSTEM WAIT VIEW telemetry.usage_daily_refresh")
    stack.member("SELECT 42 AS asked")
    stack.admin("SYSTEM FLUSH LOGS")
    asked = stack.admin("SELECT DISTINCT user FROM system.query_log WHERE query LIKE '%asked%'")
    assert (stack.home.secrets().member,) in asked
    assert stack.admin("SELECT count() FROM system.query_log WHERE user = ''") == [(0,)]
