"""The same users as SQL, for a ClickHouse that reads no users.xml of ours: a managed one.

What `access.py` writes is read again and said in statements, so both say the same. The script is
for the service's own administrator, before the schema is applied (the views name their definer),
and again whenever users change. It holds hashes only. Who is gone must be dropped by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

_OURS = "telemetry_"
NOT_THERE = ("READ ON FILE", "ALTER UPDATE ON system.")
"""Beginnings of grants (after GRANT) that a service does not give away: a file of the endpoint's
edge, and its own logs."""
_MODES = {"changeable_in_readonly": "CHANGEABLE_IN_READONLY", "const": "CONST"}


def statements(users_xml: str) -> tuple[str, ...]:
    """In the order that they must run; each can be run again."""
    root = ElementTree.fromstring(users_xml)
    people = [each for each in root.iterfind("users/*") if each.tag != "default"]
    return (
        *(_profile(each) for each in root.iterfind("profiles/*") if each.tag.startswith(_OURS)),
        *(line for each in root.iterfind("roles/*") for line in _role(each)),
        *(line for each in people for line in _user(each)),
        *(line for each in root.iterfind("quotas/*") for line in _quota(each, people)),
    )


def _profile(profile: ElementTree.Element) -> str:
    constraints = profile.find("constraints")
    rules = {} if constraints is None else {each.tag: _rule(each) for each in constraints}
    values = {each.tag: f" = {each.text}" for each in profile if each.tag != "constraints"}
    settings = ", ".join(
        f"{name}{values.get(name, '')}{rules.get(name, '')}" for name in {**values, **rules}
    )
    return f"CREATE SETTINGS PROFILE OR REPLACE `{profile.tag}` SETTINGS {settings}"


def _rule(constraint: ElementTree.Element) -> str:
    bounds = "".join(
        f" {each.tag.upper()} {each.text}" for each in constraint if each.tag in ("min", "max")
    )
    return bounds + "".join(f" {_MODES[each.tag]}" for each in constraint if each.tag in _MODES)


def _role(role: ElementTree.Element) -> Iterator[str]:
    yield f"CREATE ROLE IF NOT EXISTS `{role.tag}`"
    yield from _grants(role)


def _user(user: ElementTree.Element) -> Iterator[str]:
    hashes = [str(each.text) for each in user.iter("password_sha256_hex")]
    hosts = ", ".join(f"'{each.text}'" for each in user.iterfind("networks/ip"))
    database = user.findtext("default_database")
    yield f"CREATE USER IF NOT EXISTS `{user.tag}` IDENTIFIED WITH sha256_hash BY '{hashes[0]}'"
    yield (
        f"ALTER USER `{user.tag}` IDENTIFIED WITH "
        + ", ".join(f"sha256_hash BY '{each}'" for each in hashes)
        + f" HOST IP {hosts}"
        + (f" DEFAULT DATABASE {database}" if database else "")
        + f" SETTINGS PROFILE '{user.findtext('profile')}'"
    )
    yield from _grants(user)
    databases = user.find("databases")
    for each in () if databases is None else databases:
        for table in each:
            yield (
                f"CREATE ROW POLICY OR REPLACE `{user.tag}` ON {each.tag}.{table.tag} "
                f"FOR SELECT USING {table.findtext('filter')} TO `{user.tag}`"
            )


def _grants(owner: ElementTree.Element) -> Iterator[str]:
    yield f"REVOKE ALL ON *.* FROM `{owner.tag}`"
    for each in owner.iterfind("grants/query"):
        what, option, _ = str(each.text).removeprefix("GRANT ").partition(" WITH GRANT OPTION")
        if not what.startswith(NOT_THERE):
            yield f"GRANT {what} TO `{owner.tag}`{option}"


def _quota(quota: ElementTree.Element, people: list[ElementTree.Element]) -> Iterator[str]:
    interval = quota.find("interval")
    whose = [f"`{each.tag}`" for each in people if each.findtext("quota") == quota.tag]
    if interval is None or not whose:
        return
    limits = ", ".join(f"{each.tag} = {each.text}" for each in interval if each.tag != "duration")
    yield (
        f"CREATE QUOTA OR REPLACE `{quota.tag}` KEYED BY user_name FOR INTERVAL "
        f"{interval.findtext('duration')} second MAX {limits} TO {', '.join(whose)}"
    )
