"""Sent = stored, by the collector's own counters: what came in must be somewhere.

A balance is of one signal (log records or metric points) since the collector started. It closes
where every record is refused, left out by sampling, set aside, stored, or waiting in the queue.
What a collector before this one left in the queue is delivered by this one, so more may be stored
than came in.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from infra.settings import Settings
from scripts import counters
from scripts.counters import Sample

_STEPS = ("memory_limiter", "transform/identify", "transform/sanitize")
"""In this order; none of them drops a record, but the first refuses some for want of memory."""
_MOVING_SECONDS = 1.0
"""Counters of one moment are not of one record: what does not close is looked at again."""


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Records of one signal."""

    signal: str
    """logs or metrics"""
    arrived: int
    refused: int
    """The client was told so, and tries again."""
    sampled_out: int
    set_aside: int
    stored: int
    """ClickHouse took them."""
    waiting: int
    """In the queue."""
    from_before: int
    """Stored, and came in before this collector started."""
    difference: int
    """Neither of all that."""
    where: str
    """Behind which step the first of them were last seen; empty where the balance closes."""

    @property
    def closes(self) -> bool:
        """Whether every record is accounted for."""
        return self.difference == 0

    @property
    def said(self) -> str:
        """In words."""
        what = "events" if self.signal == "logs" else "metric points"
        parts = [
            f"{count:,} {name}"
            for count, name in (
                (self.stored - self.from_before, "stored"),
                (self.waiting, "waiting"),
                (self.set_aside, "set aside"),
                (self.sampled_out, "sampled out"),
                (self.refused, "refused"),
            )
            if count or name == "stored"
        ]
        told = f"{self.arrived:,} {what} came = {' + '.join(parts)}"
        if self.from_before:
            told += f" ({self.from_before:,} more stored, from before)"
        return told

    @property
    def problem(self) -> str:
        """What is wrong; empty where the balance closes."""
        if self.closes:
            return ""
        return (
            f"the balance of {self.signal} does not close: {abs(self.difference):,} of "
            f"{self.arrived:,} that came are {'missing' if self.difference > 0 else 'too many'} "
            f"behind {self.where} ({self.said})"
        )


def _of(samples: list[Sample], signal: str) -> Balance:
    items = counters.ITEMS[signal]

    def total(name: str, *labels: str) -> int:
        return sum(
            int(value)
            for each, had, value in samples
            if each.removesuffix("_total") == name and all(label in had for label in labels)
        )

    def passed(what: str, step: str) -> int:
        return total(
            f"otelcol_processor_{what}_items", f'otel_signal="{signal}"', f'processor="{step}"'
        )

    exporter = 'exporter="clickhouse"'
    refused_by_limit = total(f"otelcol_processor_memory_limiter_refused_{items}")
    accepted = total(f"otelcol_receiver_accepted_{items}")
    refused = total(f"otelcol_receiver_refused_{items}") + total(f"otelcol_receiver_failed_{items}")
    no_room = total(f"otelcol_exporter_enqueue_failed_{items}", exporter)
    failed = total(f"otelcol_exporter_send_failed_{items}", exporter)
    stored = total(f"otelcol_exporter_sent_{items}", exporter)
    sampled_out = passed("incoming", "filter/sample") - passed("outgoing", "filter/sample")
    to_store, aside = passed("outgoing", "filter/store"), passed("outgoing", "filter/aside")
    queue = counters.queues(samples).get(signal)
    in_queue = bool(queue and queue.bytes) or total(
        "otelcol_exporter_in_flight_requests", exporter, f'data_type="{signal}"'
    )

    # From left to right: what came out of a step must come out of the next one.
    flow, lost, where = accepted + refused, 0, ""
    for step in _STEPS:
        left = flow - passed("outgoing", step) - (refused_by_limit if step == _STEPS[0] else 0)
        where = where or (step if left else "")
        lost, flow = lost + left, passed("outgoing", step)
    left = flow - sampled_out - to_store - aside
    where = where or ("the filters" if left else "")
    lost += left
    # A refused request had passed all steps before the queue had no room for it.
    ahead = to_store - stored - no_room
    waiting = max(0, ahead - failed) if in_queue else 0  # what failed for good does not wait
    from_before = max(0, -ahead)
    undelivered = ahead - waiting + from_before
    where = where or ("the queue" if undelivered else "")
    return Balance(
        signal=signal,
        arrived=accepted + refused,
        refused=refused,
        sampled_out=sampled_out,
        set_aside=aside,
        stored=stored,
        waiting=waiting,
        from_before=from_before,
        difference=lost + undelivered,
        where=where,
    )


def balances(settings: Settings, samples: list[Sample]) -> dict[str, Balance]:
    """By signal; none where the collector does not answer."""
    found = {signal: _of(samples, signal) for signal in counters.ITEMS} if samples else {}
    if any(not each.closes for each in found.values()):
        time.sleep(_MOVING_SECONDS)
        again = counters.samples(settings)
        found = {signal: _of(again, signal) for signal in counters.ITEMS} if again else {}
    return found
