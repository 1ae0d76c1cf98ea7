"""`telemetry label`: say afterwards which chapter a session was about.

The events stay as they were sent; a small table holds what was said, and everything that counts by
chapter follows it.
"""

from __future__ import annotations

from infra.secrets import Secrets
from infra.settings import Settings
from infra.warehouse import names
from scripts import warehouse
from scripts.errors import Failure


def label(settings: Settings, secrets: Secrets, session: str, chapter: str) -> tuple[str, float]:
    """Set the chapter of a session (empty: as sent); what it was before, and its cost in USD.

    Raises Failure where the member has no such session.
    """
    seen = warehouse.as_member(settings, secrets).query(
        "SELECT argMax(chapter, ended), sum(cost_usd) FROM sessions_daily "
        "WHERE session_id = {session:String} HAVING count() > 0",
        parameters={"session": session},
    )
    if not seen.result_rows:
        raise Failure(f"You have no session {session!r}; `telemetry query sessions` lists yours.")
    [(before, cost)] = seen.result_rows
    admin = warehouse.as_admin(settings, secrets)
    admin.insert(
        names.SESSION_LABELS,
        [[secrets.member, session, chapter]],
        column_names=["member", "session_id", "chapter"],
        database=names.DATABASE,
    )
    warehouse.refresh(admin)
    return str(before), float(cost or 0)
