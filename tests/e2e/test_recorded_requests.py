"""Every recorded request of every client version goes in; every record must be its row."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from tests import recorded
from tests.conftest import Stack, until
from tests.recorded import Recorded

pytestmark = pytest.mark.stack

# Attribute by column, written down from what the client sends, not from the schema.
TEXT = {
    "session_id": "session.id",
    "prompt_id": "prompt.id",
    "user_id": "user.id",
    "model": "model",
    "request_id": "request_id",
    "query_source": "query_source",
    "speed": "speed",
    "effort": "effort",
    "tool_name": "tool_name",
    "command_name": "command_name",
    "permission_mode": "permission_mode",
    "terminal_type": "terminal.type",
    "skill_name": "skill.name",
}
NUMBER = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
    "cache_creation_5m_tokens",
    "cache_creation_1h_tokens",
    "duration_ms",
    "ttft_ms",
    "attempt",
    "status_code",
    "prompt_length",
    "response_length",
    "tool_input_size_bytes",
    "tool_result_size_bytes",
)
CONTEXT = {"team": "team", "chapter": "chapter", "git_branch": "git.branch"}
RESOURCE = {
    "client_version": "service.version",
    "os_type": "os.type",
    "host_arch": "host.arch",
    "service_name": "service.name",
}
NEVER_STORED = {
    "prompt",
    "prompt_text",
    "response",
    "tool_input",
    "tool_parameters",
    "body",
    "event.timestamp",
    "message.uuid",
    "vcs.repository.url.full",
}
COMPARED_ABOVE = {"cost_usd", "cost_usd_micros", "success"}
REPLACED = {
    "user.email",
    "user.account_uuid",
    "user.account_id",
    "organization.id",
    "host.name",
    "host.id",
    "error",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack in which nothing is but what is sent here."""
    made = Stack(tmp_path_factory.mktemp("recorded"))
    made.ok("up")
    yield made
    made.down()


@pytest.fixture(scope="module")
def sent(stack: Stack) -> list[Recorded]:
    """All recorded logs and metrics, sent once."""
    found = recorded.shifted(
        [each for each in recorded.requests() if each.signal in ("logs", "metrics")]
    )
    stack.send(found)
    return found


def count(stack: Stack, table: str) -> int:
    [(found,)] = stack.member(f"SELECT count() FROM {table}")
    return int(found)


def rows(stack: Stack) -> list[dict[str, Any]]:
    columns = [
        name
        for (name,) in stack.admin(
            "SELECT name FROM system.columns WHERE database = 'telemetry' AND table = "
            "'telemetry_events' ORDER BY position"
        )
    ]
    shown = ["toUnixTimestamp64Milli(ts)" if name == "ts" else name for name in columns]
    found = stack.member(f"SELECT {', '.join(shown)} FROM telemetry_events")
    return [dict(zip(columns, row, strict=True)) for row in found]


def logs(sent: list[Recorded]) -> Iterator[tuple[dict[str, Any], dict[str, Any], int]]:
    for request in sent:
        yield from recorded.events(request)


def cost(sent: dict[str, Any]) -> Decimal | None:
    if "cost_usd_micros" in sent:
        return Decimal(sent["cost_usd_micros"]) / 1_000_000
    # Older clients print a binary fraction: 0.020624999999999998 means 0.020625.
    return round(Decimal(str(sent["cost_usd"])), 9) if "cost_usd" in sent else None


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one row from another, as the client sees it."""
    return (
        row["ts"],
        row["event"],
        row["session_id"],
        row["seq"],
        row["tool_use_id"],
        row["client_version"],
        row["cost_usd"],
        *(row[name] for name in (*TEXT, *NUMBER, *CONTEXT)),
        row["success"],
        row["decision"],
        row["decision_source"],
    )


def expected(attributes: dict[str, Any], resource: dict[str, Any], ms: int) -> dict[str, Any]:
    return {
        "ts": ms,
        "event": attributes["event.name"],
        "seq": attributes.get("event.sequence", 0),
        "tool_use_id": attributes.get("tool_use_id", attributes.get("use_id", "")),
        "cost_usd": cost(attributes),
        "success": {"true": True, "false": False}.get(attributes.get("success", "")),
        "decision": attributes.get("decision", attributes.get("decision_type", "")),
        "decision_source": attributes.get("source", attributes.get("decision_source", "")),
        **{column: attributes.get(name, "") for column, name in TEXT.items()},
        **{name: int(attributes[name]) if name in attributes else None for name in NUMBER},
        **{
            column: attributes.get(name) or resource.get(name, "")
            for column, name in CONTEXT.items()
        },
        **{column: resource.get(name, "") for column, name in RESOURCE.items()},
    }


def test_every_recorded_event_is_one_row_with_the_values_that_were_sent(
    stack: Stack, sent: list[Recorded]
) -> None:
    stored = Counter(identity(row) for row in rows(stack))
    wanted = Counter(identity(expected(*each)) for each in logs(sent))
    assert wanted - stored == Counter(), "sent, and not stored as sent"
    assert stored - wanted == Counter(), "stored, and not sent so"


def test_every_attribute_that_may_be_kept_is_in_a_column_or_in_extra(
    stack: Stack, sent: list[Recorded]
) -> None:
    kept: dict[tuple[int, str, str, int], dict[str, Any]] = {
        (row["ts"], row["event"], row["session_id"], row["seq"]): row for row in rows(stack)
    }
    lost: set[str] = set()
    for attributes, resource, ms in logs(sent):
        sequence = attributes.get("event.sequence")
        if sequence is None:
            continue  # several such events may share the key used here
        row = kept[ms, attributes["event.name"], attributes.get("session.id", ""), sequence]
        everything = {str(value) for value in row.values()} | set(row["extra"].values())
        for name, value in {**resource, **attributes}.items():
            if name in NEVER_STORED | REPLACED | COMPARED_ABOVE or value == "":
                continue
            texts = {str(value), str(value).lower(), json.dumps(value)}
            if not texts & everything:
                lost.add(f"{name}={value!r} of {attributes['event.name']}")
    assert lost == set()


def test_a_request_sent_again_adds_no_row(stack: Stack, sent: list[Recorded]) -> None:
    before = count(stack, "telemetry_events"), count(stack, "metric_points")
    delivered = stack.metric("otelcol_exporter_sent_log_records")
    again = [each for each in sent if "01-text" in each.run or "37-resume" in each.run]
    for request in again:
        # Another body, so that nothing below the table takes it for the same block.
        body = json.dumps(request.body, indent=1).encode()
        assert stack.post(request.signal, body) == 200
    resent = sum(1 for request in again for _ in recorded.events(request))
    until(lambda: stack.metric("otelcol_exporter_sent_log_records") >= delivered + resent)
    assert (count(stack, "telemetry_events"), count(stack, "metric_points")) == before


def test_every_metric_point_is_one_row_with_its_value(stack: Stack, sent: list[Recorded]) -> None:
    wanted = Counter(
        (
            name,
            int(point["timeUnixNano"]) // 1_000_000,
            attributes.get("session.id", ""),
            attributes.get("type", ""),
            attributes.get("model", ""),
            float(point["asDouble"]),
            attributes.get("team") or resource.get("team", ""),
        )
        for request in sent
        for name, point, attributes, resource in recorded.points(request)
    )
    stored = Counter(
        stack.member(
            "SELECT metric, toUnixTimestamp64Milli(ts), session_id, type, model, value, team "
            "FROM metric_points"
        )
    )
    assert wanted - Counter({tuple(row): n for row, n in stored.items()}) == Counter()
    assert sum(wanted.values()) == sum(stored.values())


def test_a_number_is_the_same_whether_the_client_sends_text_or_number(stack: Stack) -> None:
    [request] = recorded.shifted(
        [next(each for each in recorded.requests("logs", "2.1.330") if "03-bash" in each.run)]
    )

    def variant(session: str, as_text: bool) -> bytes:
        body = json.loads(json.dumps(request.body))
        for outer in body["resourceLogs"]:
            for scope in outer["scopeLogs"]:
                for record in scope["logRecords"]:
                    for entry in record["attributes"]:
                        if entry["key"] == "session.id":
                            entry["value"] = {"stringValue": session}
                        elif as_text:
                            text = recorded.plain(entry["value"])
                            shown = str(text).lower() if isinstance(text, bool) else str(text)
                            entry["value"] = {"stringValue": shown}
        return json.dumps(body).encode()

    for session, as_text in (("typed", False), ("text", True)):
        assert stack.post("logs", variant(session, as_text)) == 200
    columns = ", ".join(("event", "seq", "cost_usd", "success", "extra", *NUMBER))
    sent = sum(1 for _ in recorded.events(request))

    def stored(session: str) -> list[Any]:
        return stack.member(
            f"SELECT {columns} FROM telemetry_events WHERE session_id = {{session:String}} "
            "ORDER BY seq, event",
            session=session,
        )

    until(lambda: len(stored("typed")) == sent == len(stored("text")))
    assert stored("typed") == stored("text")
    assert any(row[2] for row in stored("typed")), "a cost is among them"


def test_no_text_of_a_person_and_no_secret_is_stored_or_on_disk(
    stack: Stack, sent: list[Recorded]
) -> None:
    planted = (
        b"jane.doe@example.com",
        b"ghp_FAKE0000",
        b"AKIAIOSFODNN7EXAMPLE",
        b"sk-ant-api03-FAKE",
        b"wJalrXUtnFEMI",
        b"six times seven",
        b"demo-host",
    )
    text = json.dumps([each.body for each in sent]).encode()
    assert [plant for plant in planted if plant not in text] == [], "the recordings hold them"
    for table in ("telemetry_events", "metric_points"):
        dump = str(stack.admin(f"SELECT toString(tuple(*)) FROM telemetry.{table}")).encode()
        assert [plant for plant in planted if plant in dump] == [], table
    on_disk = [
        (plant, file)
        for file in stack.home.path.rglob("*")
        if file.is_file() and not file.is_symlink() and not file.is_fifo()
        for plant in planted
        if plant in file.read_bytes()
    ]
    assert on_disk == []


def test_who_sent_is_a_pseudonym_and_the_same_one_each_time(
    stack: Stack, sent: list[Recorded]
) -> None:
    [(people, shaped)] = stack.member(
        "SELECT uniqExact(extra['user.email']), "
        "countIf(NOT match(extra['user.email'], '^p1:[0-9a-f]{64}$')) "
        "FROM telemetry_events WHERE mapContains(extra, 'user.email')"
    )
    addresses = {
        attributes["user.email"] for attributes, _, _ in logs(sent) if "user.email" in attributes
    }
    assert (people, shaped) == (len(addresses), 0)


@pytest.mark.usefixtures("sent")
def test_the_member_is_stamped_by_the_collector(stack: Stack) -> None:
    stored = stack.admin("SELECT DISTINCT member FROM telemetry.telemetry_events")
    assert stored == [(stack.home.secrets().member,)]
