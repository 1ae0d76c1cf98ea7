"""OTLP requests that no client has sent, for what recorded ones do not hold."""

from __future__ import annotations

import json
import time
from typing import Any


def log(session: str, **changes: Any) -> dict[str, Any]:
    """One log record as the client sends it, with changes."""
    attributes = {"session.id": session, "event.name": "user_prompt", "event.sequence": 7}
    attributes |= changes.pop("attributes", {})
    return {
        "timeUnixNano": str(time.time_ns()),
        "body": {"stringValue": "claude_code.user_prompt"},
        "attributes": [{"key": k, "value": value(v)} for k, v in attributes.items()],
        **changes,
    }


def value(content: Any) -> dict[str, Any]:
    if isinstance(content, dict):
        return content
    if isinstance(content, int):
        return {"intValue": str(content)}
    return {"stringValue": content}


def request(*records: dict[str, Any], resource: dict[str, Any] | None = None) -> bytes:
    attributes = [{"key": k, "value": value(v)} for k, v in (resource or {}).items()]
    scope = {"scope": {"name": "com.anthropic.claude_code.events"}, "logRecords": list(records)}
    outer = {"resource": {"attributes": attributes}, "scopeLogs": [scope]}
    return json.dumps({"resourceLogs": [outer]}).encode()
