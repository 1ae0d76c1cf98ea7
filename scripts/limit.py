"""The limit of the store: at `limits.storeGib` the oldest raw rows go first.

Days of the team (`daily_metrics`) stay as they were last written down: `deletions` says up to which
day events are gone, and the view `retention` follows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from infra.settings import Settings
from infra.warehouse import names
from scripts import warehouse
from scripts.cleanup import Due, note_deletions
from stacks.home import Home

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

GIB = 1024**3
WARN_FROM = 0.8
_TOLD_DAYS = 7


@dataclass(frozen=True)
class Store:
    """What is stored, in bytes on disk."""

    bytes: int
    limit_bytes: int
    last_day: date | None
    """Up to which day events were deleted for the limit's sake, within the last week."""

    @property
    def said(self) -> list[str]:
        """What must be known; nothing where there is room."""
        found = []
        if self.bytes >= WARN_FROM * self.limit_bytes:
            found.append(
                f"the store holds {self.bytes / GIB:.1f} of {self.limit_bytes / GIB:.0f} GiB "
                "(limits.storeGib): at the limit the oldest events go first"
            )
        if self.last_day:
            found.append(
                f"the store was full: events up to {self.last_day} were deleted before their time "
                "(limits.storeGib)"
            )
        return found


def _size(client: Client) -> int:
    return int(
        client.query(
            "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = {db:String} AND active",
            parameters={"db": names.DATABASE},
        ).result_rows[0][0]
    )


def store(settings: Settings, client: Client) -> Store:
    """As it is now."""
    [(last, count)] = client.query(
        f"SELECT max(last_day), count() FROM {names.DATABASE}.{names.DELETIONS} "
        "WHERE why = 'limit' AND at > now() - toIntervalDay({days:UInt8})",
        parameters={"days": _TOLD_DAYS},
    ).result_rows
    return Store(
        bytes=_size(client),
        limit_bytes=int(settings.limits.store_gib * GIB),
        last_day=last if count else None,
    )


def enforce(settings: Settings, home: Home) -> str:
    """Delete the oldest raw rows until the store is below its limit; what was done, or nothing."""
    client = warehouse.as_admin(settings, home.secrets(), seconds=3600)
    told = []
    try:
        bound = int(settings.limits.store_gib * GIB)
        while _size(client) > bound:
            oldest = _oldest(client)
            if oldest is None:
                break
            told.append(f"events up to {_delete(client, oldest)} deleted")
        if told:
            warehouse.refresh(client)
    finally:
        client.close_connections()
    return told[-1] if told else ""


def _oldest(client: Client) -> date | None:
    """The first day of raw rows; None where nothing is left but today's."""
    days = " UNION ALL ".join(
        f"SELECT min(toDate(ts)) AS day FROM {names.DATABASE}.{table} HAVING count() > 0"
        for table in names.OWN_EVENTS
    )
    [(day, count)] = client.query(f"SELECT min(day), count() FROM ({days})").result_rows
    return day if count and day < datetime.now(UTC).date() else None


def _delete(client: Client, oldest: date) -> date:
    """A month at a time, which needs no room; of this month, day by day. The last day deleted."""
    today = datetime.now(UTC).date()
    first_of_next = (oldest.replace(day=1) + timedelta(days=31)).replace(day=1)
    month = first_of_next <= today.replace(day=1)
    last = first_of_next - timedelta(days=1) if month else oldest
    due = []
    for table in names.OWN_EVENTS:
        [(rows, first)] = client.query(
            f"SELECT count(), min(toDate(ts)) FROM {names.DATABASE}.{table} "
            "WHERE toDate(ts) <= {last:Date}",
            parameters={"last": last.isoformat()},
        ).result_rows
        if rows:
            due.append(
                Due(
                    what=names.CLASSES[table],
                    where=table,
                    rows=int(rows),
                    bytes=None,
                    first_day=first.isoformat(),
                    last_day=last.isoformat(),
                )
            )
    # First: from then on the days of the team are read as they were written down.
    note_deletions(client, "limit", due)
    for each in due:
        table = f"{names.DATABASE}.{each.where}"
        if month:
            client.command(f"ALTER TABLE {table} DROP PARTITION ID '{oldest:%Y%m}'")
        else:
            client.command(
                f"ALTER TABLE {table} DELETE WHERE toDate(ts) <= {{last:Date}}",
                parameters={"last": last.isoformat()},
                settings={"mutations_sync": 2},
            )
    return last
