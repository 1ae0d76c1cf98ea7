"""Who sent a record is who logged in: the collector of a shared endpoint, with real requests."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.collector import authenticate
from infra.settings import Settings
from tests import recorded
from tests.cloud.programs import KEY, Collector, Issuer, basic, collector, member
from tests.conftest import until
from tests.recorded import attributes

ANNA, BORIS, CLARA = "m-annaaaaaaa", "m-borissssss", "m-claraaaaaa"
SPOOFED = {
    "member": "m-0000000000",
    "team": "theirs",
    "weight": "1000",
    "telemetry.record_hash": "no-hash",
    "telemetry.purge_hash": "0" * 32,
    "telemetry.session_weight": "1000",
    "telemetry.aside": "x",
    "telemetry.search": "x",
    "telemetry.dropped": "x",
    "telemetry.login": BORIS,
    "telemetry.subject": "boris@example.org",
}
TOKENS = Settings.model_validate(
    {
        "context": {"team": "house"},
        "identity": {
            "oidcIssuer": Issuer.name,
            "oidcAudience": Issuer.audience,
            "oidcClaim": "email",
        },
    }
)

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """With a member in a team, who has two passwords; one without; one whose time is over."""
    logins = [
        member(ANNA, "one", "two", team="book"),
        member(BORIS, "boris"),
        member(CLARA, "clara", until=int(time.time()) - 1),
    ]
    with collector(tmp_path_factory.mktemp("collector"), logins) as found:
        yield found


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def with_tokens(
    tmp_path_factory: pytest.TempPathFactory, issuer: Issuer
) -> Iterator[tuple[Collector, Issuer]]:
    """One that takes tokens too, and gives everybody without a team the one of the house."""
    folder = tmp_path_factory.mktemp("collector")
    with collector(folder, [member(BORIS, "boris")], TOKENS, issuer.keys()) as found:
        yield found, issuer


def first(kind: str, version: str = "") -> dict[str, Any]:
    """A recorded request of a client."""
    found = next(each for each in recorded.requests(kind, version) if list(_resources(each.body)))
    [shifted] = recorded.shifted([found])
    return copy.deepcopy(shifted.body)


def _resources(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from body.get("resourceLogs", [])
    yield from body.get("resourceMetrics", [])


def _scopes(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for outer in _resources(body):
        yield from outer.get("scopeLogs", outer.get("scopeMetrics", []))


def _records(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Log records, or data points."""
    for scope in _scopes(body):
        yield from scope.get("logRecords", [])
        for metric in scope.get("metrics", []):
            yield from metric.get("sum", metric.get("gauge", {})).get("dataPoints", [])


def spoofed(body: dict[str, Any]) -> dict[str, Any]:
    """The same request, which says everywhere, and twice, that it is somebody else's."""
    places = [
        *(outer["resource"] for outer in _resources(body)),
        *(scope["scope"] for scope in _scopes(body)),
        *_records(body),
    ]
    claims = [{"key": k, "value": {"stringValue": v}} for k, v in SPOOFED.items()]
    for place in places:
        place["attributes"] = [*claims, *place.get("attributes", []), *claims]
    return body


def sent(
    collector: Collector, kind: str, body: dict[str, Any], headers: dict[str, str], port: int = 0
) -> dict[str, Any]:
    """Send it; as it came to the store."""
    before = len(collector.stored())
    assert collector.post(kind, json.dumps(body).encode(), headers, port=port) == 200
    found: dict[str, Any] = until(lambda: collector.stored()[before:])[0]
    return found


def owners(body: dict[str, Any]) -> set[tuple[str, str | None]]:
    """Member and team of its resources."""
    found = [attributes(outer["resource"]["attributes"]) for outer in _resources(body)]
    return {(each["member"], each.get("team")) for each in found}


@pytest.mark.parametrize("kind", ["logs", "metrics"])
@pytest.mark.parametrize(
    ("login", "password", "owner"),
    [
        (f"{ANNA}+book", "one", (ANNA, "book")),
        (f"{ANNA}.2+book", "two", (ANNA, "book")),
        (BORIS, "boris", (BORIS, None)),
    ],
)
def test_who_logged_in_is_stamped_whatever_the_client_claims(
    running: Collector, kind: str, login: str, password: str, owner: tuple[str, str | None]
) -> None:
    body = sent(running, kind, spoofed(first(kind)), basic(login, password))
    assert owners(body) == {owner}
    for place in (*_scopes(body), *_records(body)):
        named = attributes(place.get("scope", place).get("attributes", []))
        assert set(named) & {"member", "team", "weight", "telemetry.aside"} == set()
    text = json.dumps(body)
    for value in ("m-0000000000", "theirs", "no-hash", "boris@example.org", "0" * 32, "1000"):
        assert f'"{value}"' not in text
    assert running.aside() == "", "a client could send its records past the store"


def test_chapter_and_branch_stay_the_clients(running: Collector) -> None:
    body = first("logs")
    for outer in _resources(body):
        outer["resource"]["attributes"] += [
            {"key": "chapter", "value": {"stringValue": "ch03"}},
            {"key": "git.branch", "value": {"stringValue": "main"}},
        ]
    stored = sent(running, "logs", body, basic(BORIS, "boris"))
    for outer in _resources(stored):
        found = attributes(outer["resource"]["attributes"])
        assert (found["chapter"], found["git.branch"]) == ("ch03", "main")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic(ANNA, "one"),  # not the whole login
        basic(f"{ANNA}+book", "wrong"),
        basic(f"{ANNA}.2+book", "one"),
        basic(f"{ANNA}+other", "one"),
        basic("m-0000000000", "one"),
        basic(CLARA, "clara"),  # its time is over
        basic("", ""),
        {"Authorization": "Basic not-base64"},
        {"Authorization": "Bearer one"},
    ],
)
def test_nobody_else_comes_in(running: Collector, headers: dict[str, str]) -> None:
    before = len(running.stored())
    assert running.post("logs", json.dumps(first("logs")).encode(), headers) == 401
    assert len(running.stored()) == before


def test_a_list_is_read_again_without_a_new_process(tmp_path: Path) -> None:
    body = json.dumps(first("logs")).encode()
    with collector(tmp_path / "one", [member(ANNA, "one")]) as found:
        assert found.post("logs", body, basic(BORIS, "boris")) == 401
        found.write([member(BORIS, "boris")])
        found.reload()
        until(lambda: _answer(found, body, basic(BORIS, "boris")) == 200)
        assert found.post("logs", body, basic(ANNA, "one")) == 401
        assert found.process.poll() is None


def _answer(found: Collector, body: bytes, headers: dict[str, str]) -> int:
    try:
        return found.post("logs", body, headers)
    except Exception:
        return 0


def _hashes(body: dict[str, Any]) -> list[str | None]:
    return [attributes(r["attributes"]).get("telemetry.record_hash") for r in _records(body)]


def _claim(body: dict[str, Any], value: str, *, numbered: bool) -> dict[str, Any]:
    for record in _records(body):
        record["attributes"] = [
            *(e for e in record["attributes"] if numbered or e["key"] != "event.sequence"),
            {"key": "telemetry.record_hash", "value": {"stringValue": value}},
        ]
    return body


@pytest.mark.parametrize("kind", ["logs", "metrics"])
def test_the_hash_of_a_members_own_collector_is_kept(running: Collector, kind: str) -> None:
    mine = "0123456789abcdef"
    body = _claim(first(kind), mine, numbered=False)
    assert set(_hashes(sent(running, kind, body, basic(BORIS, "boris")))) == {mine}


@pytest.mark.parametrize("kind", ["logs", "metrics"])
@pytest.mark.parametrize("claimed", ["0123456789ABCDEF", "0123456789abcde", "x' OR 1=1 --", "\n"])
def test_what_is_no_hash_is_computed(running: Collector, kind: str, claimed: str) -> None:
    body = _claim(first(kind), claimed, numbered=False)
    found = _hashes(sent(running, kind, body, basic(BORIS, "boris")))
    assert found
    for each in found:
        assert each is not None
        assert len(each) == 16
        assert each != claimed


def test_a_record_with_a_number_needs_no_hash_and_keeps_none(running: Collector) -> None:
    body = _claim(first("logs", "2.1.330"), "0123456789abcdef", numbered=True)
    assert any("event.sequence" in attributes(each["attributes"]) for each in _records(body))
    stored = sent(running, "logs", body, basic(BORIS, "boris"))
    for record in _records(stored):
        found = attributes(record["attributes"])
        assert ("telemetry.record_hash" in found) == ("event.sequence" not in found)


def test_a_token_makes_a_member_by_its_claim(with_tokens: tuple[Collector, Issuer]) -> None:
    found, issuer = with_tokens
    token = issuer.token(sub="1", email="dora@example.org")
    headers = {"Authorization": f"Bearer {token}"}
    for kind in ("logs", "metrics"):
        body = sent(found, kind, spoofed(first(kind)), headers, found.oidc_port)
        expected = authenticate.member_of_claim(KEY, "dora@example.org")
        assert owners(body) == {(expected, "house")}
        assert "dora@example.org" not in json.dumps(body)


def test_each_door_takes_its_own_kind_of_login(with_tokens: tuple[Collector, Issuer]) -> None:
    found, issuer = with_tokens
    body = json.dumps(first("logs")).encode()
    token = {"Authorization": f"Bearer {issuer.token(email='dora@example.org')}"}
    assert found.post("logs", body, token) == 401
    assert found.post("logs", body, basic(BORIS, "boris"), port=found.oidc_port) == 401
    assert owners(sent(found, "logs", first("logs"), basic(BORIS, "boris"))) == {(BORIS, "house")}


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "dora@example.org", "exp": int(time.time()) - 60},
        {"email": "dora@example.org", "aud": "another"},
        {"email": "dora@example.org", "iss": "https://login.example.com"},
        {"sub": "dora"},  # without the claim
        {"email": 5},
    ],
)
def test_a_token_that_is_not_for_us_is_refused(
    with_tokens: tuple[Collector, Issuer], claims: dict[str, Any]
) -> None:
    found, issuer = with_tokens
    headers = {"Authorization": f"Bearer {issuer.token(**claims)}"}
    body = json.dumps(first("logs")).encode()
    assert found.post("logs", body, headers, port=found.oidc_port) == 401


def test_a_token_of_another_issuers_key_is_refused(with_tokens: tuple[Collector, Issuer]) -> None:
    found, _ = with_tokens
    headers = {"Authorization": f"Bearer {Issuer().token(email='dora@example.org')}"}
    body = json.dumps(first("logs")).encode()
    assert found.post("logs", body, headers, port=found.oidc_port) == 401


def test_what_nobody_logged_in_for_is_refused_whole(
    with_tokens: tuple[Collector, Issuer],
) -> None:
    """A token may be good and say nothing; then there is no member, and nothing is stored."""
    found, issuer = with_tokens
    headers = {"Authorization": f"Bearer {issuer.token(email='')}"}
    before = len(found.stored())
    body = json.dumps(first("logs")).encode()
    assert found.post("logs", body, headers, port=found.oidc_port) >= 400
    time.sleep(0.5)
    assert len(found.stored()) == before
    assert found.aside() == ""
    assert KEY not in found.log()
