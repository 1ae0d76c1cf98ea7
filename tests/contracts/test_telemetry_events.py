"""The contract of what the client sends, held against every recorded request and every row."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from scripts import contracts, warehouse
from scripts.contracts import version
from tests import recorded
from tests.conftest import Stack
from tests.recorded import FIXTURES, Recorded

CONTRACT: dict[str, Any] = json.loads(contracts.EVENTS.read_text(encoding="utf-8"))
DEFINITIONS: dict[str, dict[str, Any]] = CONTRACT["$defs"]
KIND = {
    "stringValue": "string",
    "intValue": "int",
    "doubleValue": "double",
    "boolValue": "bool",
    "arrayValue": "array",
}
SHARED = {"events": ("common", "common.events"), "metrics": ("common",)}
TABLE = {"events": "telemetry_events", "metrics": "metric_points"}
# Described, and in no recording: raw API bodies (50 kB each) and an MCP server's name.
OBSERVED_ONLY = {
    "events.api_request_body",
    "events.api_response_body",
    "events.mcp_server_connection server_name",
}


@dataclass(frozen=True)
class Record:
    """One log record or data point."""

    run: str
    kind: str
    name: str
    ms: int
    attributes: list[dict[str, Any]]
    resource: list[dict[str, Any]]

    @property
    def version(self) -> str:
        return self.run.partition("/")[0].removeprefix("claude-code-")

    @property
    def definitions(self) -> tuple[str, ...]:
        """Where its attributes are described, its own first."""
        return (f"{self.kind}.{self.name}", *SHARED[self.kind])

    @property
    def instance(self) -> dict[str, Any]:
        """As the schema wants it."""
        return {
            "name": self.name,
            "resource": recorded.attributes(self.resource),
            "attributes": recorded.attributes(self.attributes),
        }

    def described(self, name: str) -> tuple[str, dict[str, Any]] | None:
        """Which definition describes an attribute, and how."""
        for definition in self.definitions:
            found = DEFINITIONS.get(definition, {"properties": {}})["properties"].get(name)
            if found is not None:
                return definition, found
        return None


def records(request: Recorded) -> Iterator[Record]:
    for outer in request.body.get("resourceLogs", []):
        for scope in outer["scopeLogs"]:
            for record in scope["logRecords"]:
                yield Record(
                    request.run,
                    "events",
                    recorded.attributes(record["attributes"])["event.name"],
                    int(record["timeUnixNano"]) // 1_000_000,
                    record["attributes"],
                    outer["resource"]["attributes"],
                )
    for outer in request.body.get("resourceMetrics", []):
        for scope in outer["scopeMetrics"]:
            for metric in scope["metrics"]:
                for point in metric["sum"]["dataPoints"]:
                    yield Record(
                        request.run,
                        "metrics",
                        metric["name"],
                        int(point["timeUnixNano"]) // 1_000_000,
                        point["attributes"],
                        outer["resource"]["attributes"],
                    )


@cache
def everything() -> list[Record]:
    return [record for request in recorded.requests() for record in records(request)]


@cache
def environment(run: str) -> str:
    """What the recording's own note says of the client's environment."""
    return (FIXTURES / run / "README.md").read_text(encoding="utf-8")


def described() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every attribute of the contract: definition, name, what is said of it."""
    for definition, each in DEFINITIONS.items():
        for name, said in each["properties"].items():
            yield definition, name, said


def in_scope(definition: str) -> list[Record]:
    """The records that a definition speaks of."""
    if definition == "resource":
        return everything()
    return [record for record in everything() if definition in record.definitions]


def value(record: Record, definition: str, name: str) -> dict[str, Any] | None:
    """An attribute as sent, from the place that the definition speaks of."""
    entries = record.resource if definition == "resource" else record.attributes
    return next((entry["value"] for entry in entries if entry["key"] == name), None)


def is_seen(definition: str, name: str = "") -> bool:
    """Whether a recording must hold it."""
    return not {definition, f"{definition} {name}"} & OBSERVED_ONLY


def test_every_attribute_sent_is_described_with_its_type_in_that_version() -> None:
    missing = set()
    for record in everything():
        wanted = [(entry, record.described(entry["key"])) for entry in record.attributes]
        wanted += [
            (entry, ("resource", DEFINITIONS["resource"]["properties"].get(entry["key"])))
            for entry in record.resource
        ]
        for entry, found in wanted:
            [kind] = [KIND[each] for each in entry["value"]]
            said = found[1] if found else None
            span = said["sent"].get(kind) if said else None
            if span is None or not (
                version(span["from"])
                <= version(record.version)
                <= version(span.get("to", record.version))
            ):
                missing.add((record.version, record.name, entry["key"], kind))
    assert missing == set()


def test_nothing_is_described_that_was_not_seen_nor_for_longer_than_it_was() -> None:
    """A version between two recorded ones may be named: more versions were observed."""
    newest = max(recorded.versions(), key=version)
    wrong = []
    for definition, name, said in described():
        if not is_seen(definition, name):
            assert said["seen"] == "observed"
            continue
        scope = in_scope(definition)
        by_kind: dict[str, set[str]] = defaultdict(set)
        for record in scope:
            for kind in value(record, definition, name) or ():
                by_kind[KIND[kind]].add(record.version)
        there = sorted({record.version for record in scope}, key=version)
        for kind in by_kind.keys() | said["sent"].keys():
            seen = sorted(by_kind[kind], key=version)
            span = said["sent"].get(kind)
            if not seen or span is None:
                wrong.append((definition, name, kind, "on one side only"))
                continue
            before = [each for each in there if version(each) < version(seen[0])]
            if version(span["from"]) > version(seen[0]) or (
                before and version(span["from"]) <= version(before[-1])
            ):
                wrong.append((definition, name, kind, f"from {seen[0]}"))
            if span.get("to", newest) != seen[-1]:
                wrong.append((definition, name, kind, f"to {seen[-1]}"))
    assert wrong == []


def test_every_event_and_metric_is_described_since_its_version_and_no_other() -> None:
    seen: dict[str, set[str]] = defaultdict(set)
    for record in everything():
        seen[record.definitions[0]].add(record.version)
    own = {key for key in DEFINITIONS if key.partition(".")[0] in TABLE}
    assert own - seen.keys() == {each for each in OBSERVED_ONLY if " " not in each}
    assert seen.keys() - own == set()
    for key, versions in seen.items():
        oldest = min(versions, key=version)
        before = [each for each in recorded.versions() if version(each) < version(oldest)]
        since = version(DEFINITIONS[key]["since"])
        assert since <= version(oldest), key
        assert all(since > version(each) for each in before), key


def test_what_is_said_of_presence_holds_in_every_recording() -> None:
    wrong = []
    for definition, name, said in described():
        toggle, without = said.get("toggle", ""), said.get("without")
        begins = version(contracts.first(said))
        ends = max(version(span.get("to", "999")) for span in said["sent"].values())
        missing = set()
        for record in in_scope(definition):
            note = environment(record.run)
            switched_on = toggle in note and (without is None or without not in note)
            if value(record, definition, name) is not None:
                if not switched_on:
                    wrong.append((definition, name, record.run, "although switched off"))
            elif switched_on and begins <= version(record.version) <= ends:
                missing.add(record.run)
        if is_seen(definition, name) and (said["present"] == "always") != (missing == set()):
            wrong.append((definition, name, said["present"], f"missing in {sorted(missing)}"))
    assert wrong == []


def test_the_schema_is_valid_and_takes_every_recorded_record() -> None:
    Draft202012Validator.check_schema(CONTRACT)
    validator = Draft202012Validator(CONTRACT)
    refused = {
        f"{record.version} {record.name}: {error.message}"
        for record in everything()
        for error in validator.iter_errors(record.instance)
    }
    assert refused == set()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "api_call"}, "is not one of"),
        ({"attributes": {"model": 5}}, "is not of type 'string'"),
        ({"attributes": {"input_tokens": [1]}}, "is not of type 'string', 'integer'"),
        ({"attributes": {"model": None}}, "'model' is a required property"),
        ({"attributes": {"user.id": None}}, "'user.id' is a required property"),
    ],
    ids=["name", "type", "types", "own", "common"],
)
def test_the_schema_refuses_what_no_client_sends(change: dict[str, Any], said: str) -> None:
    instance = next(r for r in everything() if r.name == "api_request").instance
    for key, new in change.items():
        instance[key] = {**instance[key], **new} if isinstance(new, dict) else new
    instance["attributes"] = {
        name: each for name, each in instance["attributes"].items() if each is not None
    }
    errors = [each.message for each in Draft202012Validator(CONTRACT).iter_errors(instance)]
    assert len(errors) == 1
    assert said in errors[0]


# --- what becomes of it


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack in which nothing is but what is sent here."""
    made = Stack(tmp_path_factory.mktemp("contract"))
    made.ok("up")
    yield made
    made.down()


@pytest.fixture(scope="module")
def sent(stack: Stack) -> list[Record]:
    """All recorded logs and metrics, sent once."""
    wanted = [each for each in recorded.requests() if each.signal in ("logs", "metrics")]
    moved = recorded.shifted(wanted)
    stack.send(moved)
    return [record for request in moved for record in records(request)]


@pytest.fixture(scope="module")
def types(stack: Stack) -> contracts.Columns:
    """Columns of the real tables."""
    client = warehouse.as_admin(stack.settings, stack.home.secrets())
    try:
        return contracts.columns(client)
    finally:
        client.close_connections()


@pytest.mark.stack
def test_the_contract_says_what_the_code_and_the_tables_say(types: contracts.Columns) -> None:
    filled = contracts.telemetry_events(json.loads(json.dumps(CONTRACT)), types)
    written = contracts.EVENTS.read_text(encoding="utf-8")
    assert contracts.shown(filled) == written, "run `make contracts`"


@pytest.mark.stack
def test_every_column_is_described(types: contracts.Columns) -> None:
    for table, there in types.items():
        filled = {
            said["stored"][table]["column"]
            for _, _, said in described()
            if isinstance(said["stored"], dict) and isinstance(said["stored"].get(table), dict)
        }
        assert filled | CONTRACT["other_columns"][table].keys() == there.keys(), table


def text(sent: Any) -> str:
    """A value as the collector makes it a string."""
    return sent if isinstance(sent, str) else json.dumps(sent, separators=(",", ":"))


def is_as_said(name: str, sent: Any, stored: Any, row: dict[str, Any], others: set[str]) -> bool:
    """Whether a value lies where the contract says, as it says."""
    extra = row["extra"]
    if stored == "dropped":  # so are texts, at the default content level
        return name not in extra
    if stored == "pseudonym":
        return re.fullmatch("p1:[0-9a-f]{64}", extra.get(name, "")) is not None
    if stored == "extra":
        if name == "app.version" and "event" in row and sent == row["client_version"]:
            return name not in extra
        return bool(extra.get(name) == text(sent))
    found = row[stored["column"]]
    if name in extra:
        return False
    if name == "error":
        return bool(found)  # a fingerprint; tests/e2e/test_patterns.py holds what it is
    if name == "cost_usd" and "cost_usd_micros" in others:
        return True
    if name == "cost_usd_micros":
        return bool(found == Decimal(sent) / 1_000_000)
    if name == "cost_usd":
        return bool(found == round(Decimal(str(sent)), 9))
    if "Bool" in stored["type"]:
        return bool(found == {"true": True, "false": False}[text(sent)])
    if "Int" in stored["type"]:
        return bool(found == int(sent))
    return bool(found == text(sent))


@pytest.mark.stack
@pytest.mark.parametrize("kind", list(TABLE))
def test_everything_sent_is_stored_as_the_contract_says(
    stack: Stack, sent: list[Record], types: contracts.Columns, kind: str
) -> None:
    table = TABLE[kind]
    shown = ["toUnixTimestamp64Milli(ts)" if name == "ts" else name for name in types[table]]
    rows: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for found in stack.member(f"SELECT {', '.join(shown)} FROM {table}"):
        row = dict(zip(types[table], found, strict=True))
        name = row["event" if kind == "events" else "metric"]
        rows[row["ts"], name, row["session_id"], row.get("seq", 0)].append(row)
    wrong = []
    for record in sent:
        if record.kind != kind:
            continue
        attributes = recorded.attributes(record.attributes)
        number = attributes.get("event.sequence", 0)
        candidates = rows[record.ms, record.name, attributes.get("session.id", ""), number]
        said = [
            (name, each, rule[1])
            for name, each in attributes.items()
            if (rule := record.described(name))
        ]
        said += [
            (name, each, DEFINITIONS["resource"]["properties"][name])
            for name, each in recorded.attributes(record.resource).items()
        ]
        assert said
        failures = [
            [
                name
                for name, each, rule in said
                if not is_as_said(
                    name,
                    each,
                    "dropped"
                    if rule["stored"] == "dropped"
                    else rule["stored"].get(table, "dropped"),
                    row,
                    set(attributes),
                )
            ]
            for row in candidates
        ]
        # Events without a sequence may share a millisecond: one of them is this one.
        if [] not in failures:
            wrong.append((record.run, record.name, min(failures, key=len, default=["no row"])))
    assert wrong == []
