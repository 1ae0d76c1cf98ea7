"""The templates of users.xml, and what becomes of them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from infra import services
from infra.identity import Hash, Login
from infra.secrets import Secrets
from infra.warehouse import access

OLD, NEW = Hash("1" * 64, until=1000), Hash("2" * 64)
LOGINS = (
    Login(id="m-bbbbbbbbbb", role="member", team="red", query=(NEW, OLD)),
    Login(id="m-aaaaaaaaaa", role="coordinator", team="red", query=(NEW,)),
    Login(id="m-cccccccccc", role="auditor", query=(OLD,)),
    Login(id="m-dddddddddd", role="member"),
)


def users(now: int) -> ElementTree.Element:
    filled = access.templates(loopback_default=False, alone=False)
    text = access.expand(filled, LOGINS, now=now, admin="a" * 64, ingest="b" * 64)
    assert not re.search(r"@\w+@", text), "a placeholder is left"
    found = ElementTree.fromstring(text).find("users")
    assert found is not None
    return found


def hashes(user: ElementTree.Element) -> list[str | None]:
    return [each.text for each in user.iter("password_sha256_hex")]


def test_a_password_that_is_being_replaced_holds_until_its_time() -> None:
    assert [hashes(users(now).findall("m-bbbbbbbbbb")[0]) for now in (999, 1000)] == [
        [NEW.value, OLD.value],
        [NEW.value],
    ]


def test_who_has_no_password_that_holds_is_no_user() -> None:
    people = [[each.tag for each in users(now) if each.tag[:2] == "m-"] for now in (999, 1000)]
    assert people == [["m-aaaaaaaaaa", "m-bbbbbbbbbb", "m-cccccccccc"], people[0][:2]]


def test_placeholders_stand_where_they_are_said_to_stand() -> None:
    filled = access.templates(loopback_default=False, alone=False)
    found = {name: set(re.findall(r"@\w+@", text)) for name, text in filled.items()}
    assert found == {
        access.HEAD: {access.ADMIN_HASH, access.INGEST_HASH},
        access.METHOD: {access.NUMBER, access.HASH},
        access.TAIL: set(),
        "member": {access.ID, access.METHODS},
        "coordinator": {access.ID, access.TEAM, access.METHODS},
        "auditor": {access.ID, access.METHODS},
    }


def test_programs_come_from_the_networks_that_are_named() -> None:
    networks = access.Networks(admin=("10.0.0.5", "35.0.0.0/8"), ingest=("10.0.0.4",))
    filled = access.templates(loopback_default=False, alone=False, networks=networks)
    root = ElementTree.fromstring(filled[access.HEAD] + filled[access.TAIL])
    named = {user.tag: [ip.text for ip in user.iter("ip")] for user in root.iterfind("users/*")}
    assert named["telemetry_admin"] == ["10.0.0.5", "35.0.0.0/8"]
    assert named["telemetry_ingest"] == ["10.0.0.4"]


def test_only_who_is_alone_reads_aggregates() -> None:
    def readable(*, alone: bool) -> str:
        head = access.templates(loopback_default=False, alone=alone)[access.HEAD]
        return head.partition("<telemetry_member>")[2].rpartition("</telemetry_member>")[0]

    assert "daily_metrics" in readable(alone=True)
    assert "daily_metrics" not in readable(alone=False)


def test_the_library_has_no_logins_of_others() -> None:
    """Its function file() opens whatever its owner may read."""
    secrets = Secrets(
        member="m-0123456789",
        admin_password="a",
        ingest_password="b",
        member_password="c",
        pseudonym_key="d",
    )
    assert "m-aaaaaaaaaa" in services.users_xml(secrets, loopback_default=False, logins=LOGINS)
    with pytest.raises(ValueError, match="make local"):
        services.users_xml(secrets, loopback_default=True, logins=LOGINS)
