"""Which credentials hold, from a rotation to its end, and what is kept of them."""

from __future__ import annotations

import re
from dataclasses import replace

import bcrypt
import pytest

from infra import identity
from infra.identity import NONE, Hash, Login
from scripts import credentials, member
from scripts.credentials import Credentials
from scripts.errors import Failure, Misuse
from scripts.member_list import tidied

HOUR, NOW = 3600, 1_800_000_000
QUERY = [member.query_hash(each) for each in "abc"]
INGEST = [member.ingest_hash(each) for each in "abc"]
START = Login(id="m-abcdefghij", query=(QUERY[0],), ingest=(INGEST[0], NONE))


def holding(login: Login, now: int) -> tuple[list[str], list[str]]:
    """Values of the hashes that hold, of either kind."""
    return (
        [one.value for one in login.query if one.holds(now)],
        [one.value for one in login.ingest if one.holds(now)],
    )


def test_both_hold_during_the_overlap_and_the_new_one_after_it() -> None:
    made = member.rotated(START, now=NOW, overlap=HOUR, query=QUERY[1], ingest=INGEST[1])
    both = [INGEST[0].value, INGEST[1].value]
    assert holding(made, NOW + HOUR - 1) == ([QUERY[1].value, QUERY[0].value], both)
    assert holding(made, NOW + HOUR) == ([QUERY[1].value], [INGEST[1].value])
    assert member.newest_slot(made, NOW) == member.newest_slot(made, NOW + HOUR) == 1


def test_slots_alternate_so_that_two_logins_never_are_the_same() -> None:
    login, now, used = START, NOW, []
    for number in range(6):
        login = member.rotated(login, now=now, overlap=HOUR, ingest=INGEST[number % 3])
        used.append(member.newest_slot(login, now))
        now += HOUR
    assert used == [1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("kind", ["query", "ingest"])
def test_a_third_is_refused_unless_the_others_are_ended(kind: str) -> None:
    hashes = {"query": QUERY, "ingest": INGEST}[kind]
    second = member.rotated(START, now=NOW, overlap=HOUR, **{kind: hashes[1]})
    with pytest.raises(Failure, match="--overlap 0"):
        member.rotated(second, now=NOW + 1, overlap=HOUR, **{kind: hashes[2]})
    third = member.rotated(second, now=NOW + 1, overlap=0, **{kind: hashes[2]})
    held = holding(third, NOW + 1)[0 if kind == "query" else 1]
    assert held == [hashes[2].value]
    later = member.rotated(second, now=NOW + HOUR, overlap=HOUR, **{kind: hashes[2]})
    held = holding(later, NOW + HOUR)[0 if kind == "query" else 1]
    assert set(held) == {hashes[1].value, hashes[2].value}


def test_one_that_would_end_sooner_anyhow_does_not_hold_longer() -> None:
    ends = replace(START, query=(replace(QUERY[0], until=NOW + 60),))
    made = member.rotated(ends, now=NOW, overlap=HOUR, query=QUERY[1])
    assert [one.until for one in made.query] == [0, NOW + 60]


def test_what_has_ended_is_taken_off_the_list() -> None:
    made = member.rotated(START, now=NOW, overlap=HOUR, query=QUERY[1], ingest=INGEST[1])
    [left] = tidied([made], NOW + HOUR)
    assert left.query == (QUERY[1],)
    assert left.ingest == (NONE, INGEST[1])
    assert identity.parse(identity.table([left])) == (left,)


def test_hashes_are_such_as_a_list_holds_and_as_cheap_as_they_get() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", member.query_hash("x").value)
    hashed = member.ingest_hash("x").value
    assert hashed.startswith("$2b$04$")
    assert bcrypt.checkpw(b"x", hashed.encode())
    assert member.ingest_hash("x") != member.ingest_hash("x"), "salted"


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)]
)
def test_an_overlap_is_read(text: str, seconds: int) -> None:
    assert member.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "1w", "-1d", "0d0", "91d", "\u0667d", "1d\n", "7 d"])
def test_another_overlap_is_refused(text: str) -> None:
    with pytest.raises(Misuse):
        member.seconds(text)


def test_credentials_read_as_they_were_written_and_do_not_show_themselves() -> None:
    given = Credentials(
        stack="cloud",
        id="m-abcdefghij",
        role="member",
        query="https://127.0.0.1/query",
        query_password="Secret1",
        ingest_login="m-abcdefghij.2+on",
        ingest_password="Secret2",
        client_key="-----BEGIN PRIVATE KEY-----\nSecret3\n-----END PRIVATE KEY-----\n",
    )
    assert credentials.parse(given.text, "it") == given
    assert "Secret" not in repr(given)
    assert "Secret" not in repr(Hash("Secret"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "stack: cloud\nid: m-abcdefghij\n",
        "stack: ../../x\nid: m-abcdefghij\nrole: member\n",
        "stack: cloud\nid: ../m-abcdef\nrole: member\n",
        "stack: cloud\nid: m-abcdefghij\nrole: member\nquery_password: 12\n",
        "stack: cloud\nid: m-abcdefghij\nrole: member\nmore: x\n",
        "stack: [\n",
    ],
)
def test_what_is_no_file_of_credentials_is_refused(text: str) -> None:
    with pytest.raises(Failure, match="it is no file"):
        credentials.parse(text, "it")
