"""The collector's own counters, as it shows them to Prometheus; all since it started."""

from __future__ import annotations

import re
from dataclasses import dataclass

import urllib3

from infra.settings import Settings

_SAMPLE = re.compile(r"^([a-z_]+)(?:\{([^}]*)\})? ([0-9.e+-]+)$", re.MULTILINE)
ITEMS = {"logs": "log_records", "metrics": "metric_points"}
_NEARLY = 0.8
_MIB = 1024 * 1024

Sample = tuple[str, str, float]
"""Name, labels, value."""


@dataclass(frozen=True)
class Queue:
    """What waits for ClickHouse, of one signal."""

    bytes: int
    limit_bytes: int
    refused: int
    """Records or points that it had no room for."""

    @property
    def said(self) -> str:
        """What is wrong with it; empty where nothing is."""
        if self.bytes < _NEARLY * self.limit_bytes:
            return ""
        filled = f"{self.bytes / _MIB:.0f} of {self.limit_bytes / _MIB:.0f} MiB"
        if self.refused:
            return (
                f"is full ({filled}): {self.refused} were refused since the collector started, and "
                "are lost unless their client tries again in time"
            )
        return f"is nearly full ({filled}, queue.maxMib): then what comes is refused"


def samples(settings: Settings) -> list[Sample]:
    """All of them; none where it does not answer."""
    address = f"http://127.0.0.1:{settings.ports.collector_metrics}/metrics"
    try:
        reply = urllib3.request("GET", address, timeout=3, retries=False)
    except urllib3.exceptions.HTTPError:
        return []
    text = reply.data.decode(errors="replace")
    return [(m[1], m[2] or "", float(m[3])) for m in _SAMPLE.finditer(text)]


def queues(found: list[Sample]) -> dict[str, Queue]:
    """By signal, those that ClickHouse is delivered from."""

    def of(name: str, *labels: str) -> int:
        wanted = ('exporter="clickhouse"', *labels)
        return sum(
            int(value)
            for each, had, value in found
            if each == name and all(label in had for label in wanted)
        )

    made = {}
    for signal, items in ITEMS.items():
        label = f'data_type="{signal}"'
        made[signal] = Queue(
            bytes=of("otelcol_exporter_queue_size", label),
            limit_bytes=of("otelcol_exporter_queue_capacity", label),
            refused=of(f"otelcol_exporter_enqueue_failed_{items}"),
        )
    return {signal: queue for signal, queue in made.items() if queue.limit_bytes}


def waiting(settings: Settings) -> int | None:
    """Bytes that wait for ClickHouse; None where the collector does not answer."""
    found = queues(samples(settings))
    return sum(each.bytes for each in found.values()) if found else None
