"""Step 1b, only on a shared endpoint: authenticate. Who sent a request is who logged in.

A receiver takes nothing without a login: that of the list of members (`basicauth`), or a token of
the team's own issuer (`oidc`, on a port of its own, because a receiver knows one way). After
`identify` has dropped what the client said of itself, the login is stamped on the resource, and
becomes `member` and `team`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from infra.collector import ottl
from infra.collector.placement import Placement
from infra.settings import Settings

LOGIN, SUBJECT = "telemetry.login", "telemetry.subject"
"""Of a resource, between two processors: who logged in, and whose token it was."""
STAMPED = (LOGIN, SUBJECT, "team")
"""What `identify` drops besides, wherever a client sends it."""
PROCESSORS = ("resource/login", "transform/login")
HASH_FORM = "^[0-9a-f]{16}$"
"""Of `telemetry.record_hash`, as a member's own collector has made it."""

_PASSWORDS, _TOKENS = "basicauth/members", "oidc/members"
_OIDC = "oidc"
_CHARACTERS = 10
_LOGIN = "^m-[a-z0-9]{10}(?:[.]2)?(?:[+][A-Za-z0-9_-]{1,64})?$"
"""Of infra.identity.Login.ingest_name."""


def wanted(placement: Placement) -> bool:
    """Whether there is a list of members."""
    return bool(placement.logins)


def with_tokens(settings: Settings, placement: Placement) -> bool:
    """Whether tokens are taken too."""
    return wanted(placement) and bool(settings.identity.oidc_issuer)


def member_of_claim(key: str, claim: str) -> str:
    """Id of the member whose token has this claim. `key`: the pseudonym key.

    Keyed, so that an id does not betray who it is.
    """
    hashed = hashlib.sha256(f"{_OIDC}|{key}|{claim}".encode()).hexdigest()
    return f"m-{hashed[:_CHARACTERS]}"


def receivers(settings: Settings, placement: Placement, http: dict[str, Any]) -> dict[str, Any]:
    """The doors. `http`: the one of a stack without logins. No gRPC: the edge passes HTTP on."""
    found = {
        "otlp": {"protocols": {"http": {**http, "auth": {"authenticator": _PASSWORDS}}}},
    }
    if with_tokens(settings, placement):
        endpoint = f"{placement.listen}:{placement.oidc_port}"
        door = {**http, "endpoint": endpoint, "auth": {"authenticator": _TOKENS}}
        found["otlp/oidc"] = {"protocols": {"http": door}}
    return found


def extensions(settings: Settings, placement: Placement) -> dict[str, Any]:
    """What checks a login."""
    if not wanted(placement):
        return {}
    found: dict[str, Any] = {_PASSWORDS: {"htpasswd": {"file": placement.logins}}}
    if with_tokens(settings, placement):
        provider = {
            "issuer_url": settings.identity.oidc_issuer,
            "audience": settings.identity.oidc_audience,
            "username_claim": settings.identity.oidc_claim,
            # Keys from a file, which is read again when it changes: with an issuer that is away
            # the collector would not start, for anybody.
            "public_keys_file": placement.oidc_keys,
        }
        found[_TOKENS] = {"providers": [provider]}
    return found


def processors(settings: Settings, placement: Placement) -> dict[str, Any]:
    """Stamps the login, and makes member and team of it. A request of nobody fails, whole."""
    if not wanted(placement):
        return {}
    member, team = (ottl.attribute("resource", name) for name in ("member", "team"))
    login, subject = (ottl.attribute("resource", name) for name in (LOGIN, SUBJECT))
    key = placement.secret("pseudonym-key")
    hashed = f'SHA256(Concat(["{_OIDC}", resource.cache["key"], {subject}], "|"))'
    own_team = settings.context.team
    statements = [
        f"set({member}, {login}) where {login} != nil and IsMatch({login}, {ottl.literal(_LOGIN)})",
        f'set({team}, {member}) where {member} != nil and IsMatch({member}, "[+]")',
        ottl.replace(team, "^[^+]*[+]", ""),
        ottl.replace(member, "[.+].*$", ""),
        *(
            [
                # In a variable, because a statement that fails is logged with its text.
                f'set(resource.cache["key"], "{key}")',
                f'set({member}, Concat(["m-", Substring({hashed}, 0, {_CHARACTERS})], "")) '
                f'where {login} == nil and {subject} != nil and {subject} != ""',
            ]
            if with_tokens(settings, placement)
            else []
        ),
        *([f"set({team}, {ottl.literal(own_team)}) where {team} == nil"] if own_team else []),
        # Nobody: this fails, and with it the request. Nothing of it is kept.
        f'set({member}, ParseJSON("nobody logged in")) where {member} == nil',
        f"delete_key(resource.attributes, {ottl.literal(LOGIN)})",
        f"delete_key(resource.attributes, {ottl.literal(SUBJECT)})",
    ]
    group = [{"context": "resource", "statements": statements}]
    subjects = (
        [{"key": SUBJECT, "action": "upsert", "from_context": "auth.subject"}]
        if with_tokens(settings, placement)
        else []
    )
    return {
        "resource/login": {
            "attributes": [
                {"key": LOGIN, "action": "upsert", "from_context": "auth.username"},
                *subjects,
            ]
        },
        "transform/login": {
            "error_mode": "propagate",
            "log_statements": group,
            "metric_statements": list(group),
        },
    }
