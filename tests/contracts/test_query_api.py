"""The page on asking over HTTP: what it shows is run, what it claims is asked."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
import urllib3

from stacks.home import PROJECT
from tests import recorded
from tests.conftest import Stack

pytestmark = pytest.mark.stack

PAGE = (PROJECT / "contracts" / "query-api.md").read_text(encoding="utf-8")
SETUP, *EXAMPLES = re.findall(r"```sh\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, re.DOTALL)
REFUSED = re.findall(r"^\| `([^`]+)` \| (\d{3}) \| (\d+) \|", PAGE, re.MULTILINE)
LIMITS = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.MULTILINE))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack that holds one recorded session: two edits."""
    made = Stack(tmp_path_factory.mktemp("query-api"))
    made.ok("up")
    run = "claude-code-2.1.330/06-edit-details"
    made.send(recorded.shifted([each for each in recorded.requests() if each.run == run]))
    yield made
    made.down()


def asked(stack: Stack, sql: str, **headers: str) -> urllib3.BaseHTTPResponse:
    secrets = stack.home.secrets()
    return urllib3.request(
        "POST",
        f"http://127.0.0.1:{stack.settings.ports.clickhouse_http}/",
        body=sql.encode(),
        headers={
            "X-ClickHouse-User": secrets.member,
            "X-ClickHouse-Key": secrets.member_password,
            **headers,
        },
        retries=False,
    )


@pytest.mark.parametrize(("command", "answer"), EXAMPLES)
def test_every_example_answers_as_shown(stack: Stack, command: str, answer: str) -> None:
    """With this stack's folder and port instead of the usual ones."""
    script = (SETUP[0] + command).replace("~/.local/state/telemetry", str(stack.home.path))
    script = script.replace(":8123/", f":{stack.settings.ports.clickhouse_http}/")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "DB::Exception" not in done.stdout
    assert done.stdout
    if answer:
        assert done.stdout == answer


@pytest.mark.parametrize(("sql", "status", "code"), REFUSED)
def test_every_error_has_its_status_and_code(
    stack: Stack, sql: str, status: str, code: str
) -> None:
    reply = asked(stack, sql)
    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (int(status), code)


def test_a_wrong_password_is_refused_as_the_page_says(stack: Stack) -> None:
    reply = asked(stack, "SELECT 1", **{"X-ClickHouse-Key": "wrong"})
    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (403, "516")


def test_a_get_never_writes(stack: Stack) -> None:
    """Not even as the administrator, who may."""
    secrets = stack.home.secrets()
    reply = urllib3.request(
        "GET",
        f"http://127.0.0.1:{stack.settings.ports.clickhouse_http}/",
        fields={"query": "CREATE TABLE telemetry.got (x UInt8) ENGINE = Memory"},
        headers={
            "X-ClickHouse-User": "telemetry_admin",
            "X-ClickHouse-Key": secrets.admin_password,
        },
        retries=False,
    )
    assert reply.headers["X-ClickHouse-Exception-Code"] == "164"


def test_the_page_lists_all_limits_of_the_profile() -> None:
    """Held against the rendered users.xml."""
    golden = ElementTree.parse(PROJECT / "tests/golden/embedded/clickhouse-users.xml")
    [profile] = golden.iterfind("profiles/telemetry_member")
    assert {each.tag: each.text for each in profile if each.tag != "constraints"} == LIMITS


def test_an_answer_that_fails_midway_is_cut_short(stack: Stack) -> None:
    with pytest.raises(urllib3.exceptions.ProtocolError):
        asked(stack, "SELECT throwIf(number = 5000000) FROM numbers(10000000)")


def test_the_page_has_examples_and_errors() -> None:
    assert len(EXAMPLES) > 8
    assert len(REFUSED) > 8
