"""Step 6: store. Into ClickHouse's landing tables; what the guards marked goes to a side file."""

from __future__ import annotations

from typing import Any

from infra.collector import queue
from infra.collector.placement import Placement
from infra.settings import Settings
from infra.warehouse import names

ASIDE_DAYS = 90
"""How long a record set aside is kept; no setting, so that retention concerns the schema alone."""
SHARED_ASIDE_DAYS = 22
"""The same on the cloud's machine, where no purge reaches it (infra/host/watch.sh)."""


def exporters(settings: Settings, placement: Placement) -> dict[str, Any]:
    """`clickhouse` for everything that is well, `file/aside` for the rest (sanitized too)."""
    return {
        "clickhouse": {
            "endpoint": placement.warehouse,
            "username": names.INGEST_USER,
            "password": placement.secret("clickhouse-ingest"),
            "database": placement.database,
            "create_schema": False,
            # The queue batches; the answer must mean "on disk in ClickHouse".
            "async_insert": False,
            "logs_table_name": names.LOGS_LANDING,
            "metrics_tables": {
                "sum": {"name": names.SUM_LANDING},
                "gauge": {"name": names.GAUGE_LANDING},
            },
            "timeout": "30s",
            "sending_queue": queue.sending_queue(settings),
            "retry_on_failure": queue.retry(),
        },
        "file/aside": {
            "path": f"{placement.aside}/aside.jsonl",
            "create_directory": True,
            "directory_permissions": "0700",
            "flush_interval": "200ms",
            "rotation": {
                "max_megabytes": 10,
                "max_backups": 3,
                "max_days": ASIDE_DAYS,
            },
        },
    }
