"""The collector has a wrong password for a while: said at once, and nothing is lost."""

from __future__ import annotations

import pytest

from stacks.home import write_private
from tests.conftest import Stack, until
from tests.faults.common import Ledger, Sessions, kill, status

pytestmark = pytest.mark.stack


def test_a_wrong_password_is_named_and_what_came_meanwhile_is_there_once(own_stack: Stack) -> None:
    own_stack.ok("up")
    ledger, sessions = Ledger(own_stack), Sessions()
    secret = own_stack.home.secrets_folder / "clickhouse-ingest"
    write_private(secret, "another")
    kill(own_stack, "collector")
    until(lambda: own_stack.pid("collector"))
    for _ in range(3):
        ledger.send(*sessions.again())

    def problems() -> str:
        return "\n".join(status(own_stack)["problems"])

    for signal in ("logs", "metrics"):
        named = (
            f"{signal} cannot be stored in ClickHouse: it does not take the collector's password"
        )
        until(lambda: named in problems())  # noqa: B023
    own_stack.ok("up")
    ledger.settle()
    until(lambda: "cannot be stored" not in problems(), 60)
