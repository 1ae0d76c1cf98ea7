"""`telemetry query`: what people, programs and spreadsheets get."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Stack

pytestmark = pytest.mark.stack

SQL = "SELECT toDecimal64('0.0245', 9) AS cost, {name:String} AS name, NULL AS nothing"


def test_json_and_csv_are_for_programs(stack: Stack) -> None:
    words = ("query", "--sql", SQL, "--param", "name=a,b", "--format")
    assert json.loads(stack.ok(*words, "json")) == [
        {"cost": 0.0245, "name": "a,b", "nothing": None}
    ]
    assert stack.ok(*words, "csv") == 'cost,name,nothing\n0.0245,"a,b",\n'


def test_a_table_in_a_pipe_is_whole_and_without_colour(stack: Stack) -> None:
    long = "x" * 300
    found = stack.ok("query", "--sql", SQL, "--param", f"name={long}")
    assert long in found
    assert " 0.0245 " in found
    assert "\x1b[" not in found


def test_a_table_of_nothing_says_so_and_leaves_a_pipe_empty(stack: Stack) -> None:
    done = stack.run("query", "--sql", "SELECT 1 AS x WHERE false")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "No rows.\n")


def test_a_query_that_is_wrong_is_said_with_exit_code_1_and_misuse_with_2(stack: Stack) -> None:
    wrong = stack.run("query", "--sql", "SELECT nonsense FROM telemetry_events")
    assert wrong.returncode == 1
    assert "nonsense" in wrong.stderr
    assert stack.run("query", "--sql", SQL, "--param", "name").returncode == 2
    assert stack.run("query").returncode == 2


def test_without_a_stack_the_mend_is_named(own_stack: Stack) -> None:
    own_stack.home.prepare()
    done = own_stack.run("query", "--sql", "SELECT 1")
    assert done.returncode == 1
    assert "telemetry up" in done.stderr


def test_a_proxy_of_the_machine_does_not_come_between(stack: Stack) -> None:
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"), "http://127.0.0.1:1")
    assert stack.ok("query", "--format", "csv", "--sql", "SELECT 1 AS x", env=proxy) == "x\n1\n"
    stack.ok("verify", env=proxy)
