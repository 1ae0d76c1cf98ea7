"""Step 5: queue. A request is acknowledged once it is on disk; the store may be away for days."""

from __future__ import annotations

from typing import Any

from infra.collector.placement import Placement
from infra.settings import Settings

STORAGE = "file_storage/queue"
_MIB = 1024 * 1024


def extensions(settings: Settings, placement: Placement) -> dict[str, Any]:
    """The files the queue lives in.

    `recreate` sets a file that can no longer be read aside (`*.backup`) and starts a new one.
    """
    return {
        STORAGE: {
            "directory": placement.queue,
            "create_directory": True,
            "directory_permissions": "0700",
            "timeout": "5s",
            "fsync": settings.queue.fsync,
            "recreate": True,
            "compaction": {
                "on_start": True,
                "on_rebound": True,
                "directory": placement.queue,
                "cleanup_on_start": True,
            },
        }
    }


def sending_queue(settings: Settings) -> dict[str, Any]:
    """Bounded by bytes; full means the sender is told so (503), not that something is dropped."""
    return {
        "enabled": True,
        "storage": STORAGE,
        "sizer": "bytes",
        "queue_size": settings.queue.max_mib * _MIB,
        "block_on_overflow": False,
        "num_consumers": 2,
        "batch": {
            "flush_timeout": "200ms",
            "sizer": "bytes",
            # As much as comes in that time: a large insert costs ClickHouse hardly more.
            "min_size": 4 * _MIB,
            "max_size": 8 * _MIB,
        },
    }


def at_work(settings: Settings) -> int:
    """Bytes of it that may be on their way to the store at once."""
    queue = sending_queue(settings)
    return int(queue["num_consumers"] * queue["batch"]["max_size"])


def retry() -> dict[str, Any]:
    """For ever: what was acknowledged is delivered, however long the store is away."""
    return {
        "enabled": True,
        "initial_interval": "1s",
        "max_interval": "30s",
        "max_elapsed_time": "0s",
    }
