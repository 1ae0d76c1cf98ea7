"""What the shipped questions must answer, computed from the recorded JSON and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests import recorded
from tests.recorded import Recorded

EDITS = ("Edit", "MultiEdit", "Write", "NotebookEdit")
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
Row = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One recorded event, as the client meant it."""

    ms: int
    name: str
    session: str
    version: str
    says: dict[str, Any]
    """Its attributes, and those of its resource that it has not itself."""

    @property
    def day(self) -> str:
        return self.at.date().isoformat()

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.ms / 1000, UTC)

    @property
    def cost(self) -> Decimal | None:
        if "cost_usd_micros" in self.says:
            return Decimal(int(self.says["cost_usd_micros"])) / 1_000_000
        said = self.says.get("cost_usd")
        return None if said is None else round(Decimal(str(said)), 9)

    @property
    def failed(self) -> bool:
        return str(self.says.get("success")).lower() == "false"

    @property
    def asked_a_person(self) -> bool:
        return str(self.says.get("source", "")).startswith("user_")

    def number(self, name: str) -> int:
        return int(self.says.get(name, 0))


def events(requests: Iterable[Recorded]) -> list[Event]:
    """All events of these requests."""
    return [
        Event(
            ms,
            attributes["event.name"],
            attributes.get("session.id", ""),
            resource["service.version"],
            {**resource, **attributes},
        )
        for request in requests
        for attributes, resource, ms in recorded.events(request)
    ]


def grouped(found: Iterable[Event], key: Callable[[Event], Any]) -> dict[Any, list[Event]]:
    """Events by something they say."""
    groups: dict[Any, list[Event]] = defaultdict(list)
    for event in found:
        groups[key(event)].append(event)
    return groups


def of(found: Iterable[Event], *names: str) -> list[Event]:
    """Events of these kinds."""
    return [event for event in found if event.name in names]


def cost(found: Iterable[Event]) -> Decimal | None:
    """Their cost; None where nothing among them has one."""
    known = [event.cost for event in found if event.cost is not None]
    return sum(known, Decimal(0)) if known else None


def _share(part: Decimal | None, whole: Decimal | None) -> float | None:
    return None if part is None or not whole else round(float(100 * part / whole), 1)


def by(found: list[Event], column: str, key: Callable[[Event], Any]) -> list[Row]:
    """Requests, sessions and cost, divided by something."""
    whole = cost(found)
    rows = []
    for value, group in grouped(found, key).items():
        requests = of(group, "api_request")
        rows.append(
            {
                column: value,
                "sessions": len({event.session for event in requests} - {""}),
                "requests": len(requests),
                "cost_usd": cost(group),
                "share": _share(cost(group), whole),
            }
        )
    return rows


def sessions_that_worked(found: list[Event]) -> dict[str, list[Event]]:
    """Sessions in which anything was asked or done; others only started up."""
    working = ("user_prompt", "api_request", "api_error", "tool_result")
    return {
        session: group for session, group in grouped(found, lambda e: e.session).items()
        if session and of(group, *working)
    }  # fmt: skip


def failures(found: list[Event]) -> int:
    """What went wrong in them, as reports count it."""
    return len(of(found, "api_error")) + sum(e.failed for e in of(found, "tool_result"))


def approvals(found: list[Event], all_there_is: list[Event]) -> list[Row]:
    """What people decided in `found`."""
    prompts = [
        event for event in of(all_there_is, "user_prompt")
        if event.says.get("command_name") not in ("exit", "quit", "clear")
    ]  # fmt: skip

    def anew(event: Event) -> bool:
        return any(e.session == event.session and e.ms > event.ms for e in prompts)

    asked = (event for event in of(found, "tool_decision") if event.asked_a_person)
    rows = []
    for tool, group in grouped(asked, lambda e: e.says["tool_name"]).items():
        rejected = [event for event in group if event.says["decision"] == "reject"]
        modified = sum(anew(event) for event in rejected)
        rows.append(
            {
                "tool_name": tool,
                "approved": sum(event.says["decision"] == "accept" for event in group),
                "rejected": len(rejected) - modified,
                "modified": modified,
            }
        )
    return rows


ANSWERS: dict[str, Callable[[list[Event]], list[Row]]] = {
    "cost-by-chapter": lambda found: by(found, "chapter_shown", lambda e: e.says["chapter"]),
    "cost-by-branch": lambda found: by(found, "branch", lambda e: e.says["git.branch"]),
    "cost-by-day": lambda found: by(found, "day", lambda e: e.day),
    "cost-by-model": lambda found: [
        {
            "model": model,
            "requests": len(group),
            "requests_without_cost": sum(e.cost is None for e in group),
            "cost_usd": cost(group),
            "share": _share(cost(group), cost(found)),
            **{name: sum(e.number(name) for e in group) for name in TOKENS},
        }
        for model, group in grouped(of(found, "api_request"), lambda e: e.says["model"]).items()
    ],
    "error-rate": lambda found: [
        {
            "day": day,
            "requests": len(of(group, "api_request")),
            "api_errors": len(of(group, "api_error")),
            "tool_calls": len(of(group, "tool_result")),
            "tool_failures": sum(e.failed for e in of(group, "tool_result")),
        }
        for day, group in grouped(found, lambda e: e.day).items()
    ],
    "failing-tools": lambda found: [
        {
            "tool_name": tool,
            "calls": len(group),
            "failures": sum(e.failed for e in group),
            "kinds": {
                kind: len(failed)
                for kind, failed in grouped(
                    (e for e in group if e.failed), lambda e: e.says.get("error_type", "(unnamed)")
                ).items()
            },
        }
        for tool, group in grouped(
            of(found, "tool_result"), lambda e: e.says["tool_name"]
        ).items()
        if any(e.failed for e in group)
    ],
    "slow-tools": lambda found: [
        {
            "tool_name": tool,
            "calls": len(group),
            "total_s": round(sum(e.number("duration_ms") for e in group) / 1000, 1),
        }
        for tool, group in grouped(
            of(found, "tool_result"), lambda e: e.says["tool_name"]
        ).items()
    ],
    "slow-requests": lambda found: [
        {"model": model, "requests": len(group)}
        for model, group in grouped(of(found, "api_request"), lambda e: e.says["model"]).items()
    ],
    "token-efficiency": lambda found: [
        {
            "model": model,
            "requests": len(group),
            "output_per_request": round(
                sum(e.number("output_tokens") for e in group) / len(group), 1
            ),
            "usd_per_request": round(float(cost(group) or 0) / len(group), 6),
        }
        for model, group in grouped(of(found, "api_request"), lambda e: e.says["model"]).items()
    ],
    "cache": lambda found: [
        {
            "model": model,
            **{
                name: sum(e.number(name) for e in group)
                for name in TOKENS
                if name != "output_tokens"
            },
        }
        for model, group in grouped(of(found, "api_request"), lambda e: e.says["model"]).items()
    ],
    "approvals": lambda found: approvals(found, found),
    "activity-by-hour": lambda found: [
        {
            "hour_of_day": hour,
            "prompts": len(of(group, "user_prompt")),
            "requests": len(of(group, "api_request")),
            "tool_calls": len(of(group, "tool_result")),
            "cost_usd": cost(group),
        }
        for hour, group in grouped(found, lambda e: e.at.hour).items()
    ],
    "client-versions": lambda found: [
        {"client_version": version, "sessions": len(sessions_that_worked(group))}
        for version, group in grouped(found, lambda e: e.version).items()
    ],
    "sessions": lambda found: [
        {
            "session_id": session,
            "requests": len(of(group, "api_request")),
            "tool_calls": len(of(group, "tool_result")),
            "tool_failures": sum(e.failed for e in of(group, "tool_result")),
            "api_errors": len(of(group, "api_error")),
            "cost_usd": cost(group),
            "duration_s": (max(e.ms for e in group) - min(e.ms for e in group)) / 1000,
        }
        for session, group in sessions_that_worked(found).items()
    ],
    "failing-sessions": lambda found: [
        {
            "session_id": session,
            "api_errors": len(of(group, "api_error")),
            "tool_failures": sum(e.failed for e in of(group, "tool_result")),
        }
        for session, group in sessions_that_worked(found).items()
        if failures(group)
    ],
    "dearest-sessions": lambda found: [
        {"session_id": session, "cost_usd": cost(group), "requests": len(of(group, "api_request"))}
        for session, group in sessions_that_worked(found).items()
        if cost(group)
    ],
    "daily-metrics": lambda found: [
        {
            "day": day,
            "chapter": chapter,
            "members": 1,
            "sessions": len(sessions_that_worked(group)),
            "prompts": len(of(group, "user_prompt")),
            "requests": len(of(group, "api_request")),
            "api_errors": len(of(group, "api_error")),
            "tool_calls": len(of(group, "tool_result")),
            "edits": sum(
                not e.failed and e.says["tool_name"] in EDITS for e in of(group, "tool_result")
            ),
            "cost_usd": cost(group),
            **{
                name: sum(e.number(name) for e in of(group, "api_request")) for name in TOKENS
            },
        }
        for (day, chapter), group in grouped(found, lambda e: (e.day, e.says["chapter"])).items()
    ],
    "subagents": lambda found: [
        {"agent": agent, "requests": len(group), "cost_usd": cost(group)}
        for agent, group in grouped(
            of(found, "api_request"),
            lambda e: e.says.get("agent.name")
            or {"compact": "(compaction)"}.get(e.says.get("query_source", ""), "(main)"),
        ).items()
    ],
    "cost-without-chapter": lambda _: [],
    "rework": lambda _: [],  # no prompt in the recordings edits five times
}  # fmt: skip
"""Expected rows by question: the columns that can be told from the recordings, in any order."""
