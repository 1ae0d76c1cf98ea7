"""Step 5, the other way: metrics to Prometheus by remote write, where `backend` asks for it.

Each delta becomes one sample of a gauge, at the end of its interval, and is summed when asked
(`sum_over_time`). Not a counter: sessions are short, and a counter's `increase` misses what a
series begins with and extrapolates what it ends with. Nothing has to be remembered between two
requests of one session, so a restart here, a request sent again, or one out of order does no harm.
"""

from __future__ import annotations

from typing import Any

from infra import prometheus
from infra.collector.placement import Placement
from infra.collector.sanitize import ASIDE, NO_DATA, UNSEARCHED
from infra.settings import Settings

RESOURCE_LABELS = ("member", "team", "chapter", "git.branch", "service.version")
LABELS = (
    *RESOURCE_LABELS,
    "session.id",
    "model",
    "query_source",
    "effort",
    "type",
    "start_type",
    "tool_name",
    "decision",
    "source",
    "language",
    "agent.name",
    "skill.name",
)
"""What tells samples apart; points that differ in anything else are added up.

Without the session, two sessions that report in the same millisecond would be one sample, and
Prometheus keeps the first of two. It costs some twenty series a session.
"""

_BATCH_SECONDS = 5
_BATCH_POINTS = 125
_QUEUED_BATCHES = 200
"""In memory, so bounded: Prometheus may be away for a quarter of an hour, or 25,000 points."""


def wanted(settings: Settings) -> bool:
    """Whether metrics go to Prometheus at all."""
    return settings.backend != "clickhouse"


def processors() -> dict[str, Any]:
    """From a point of the client to a sample with labels."""
    return {
        "filter/prometheus": {
            "error_mode": "propagate",
            "metric_conditions": [
                UNSEARCHED,
                NO_DATA,
                f'datapoint.attributes["{ASIDE}"] != nil',
                'datapoint.attributes["telemetry.synthetic"] != nil',
            ],
        },
        # The series of a client that counts cumulatively is known by all its attributes but this.
        "transform/series": {
            "error_mode": "propagate",
            "metric_statements": [
                {
                    "context": "datapoint",
                    "statements": ['delete_key(datapoint.attributes, "telemetry.record_hash")'],
                }
            ],
        },
        # Long enough for a machine that sleeps: a series forgotten would be counted from its start.
        "cumulative_to_delta": {"max_staleness": "168h"},
        "transform/samples": {
            "error_mode": "propagate",
            "metric_statements": [
                {
                    "context": "datapoint",
                    "statements": [
                        f'set(datapoint.attributes["{name}"], resource.attributes["{name}"]) '
                        f'where datapoint.attributes["{name}"] == nil'
                        for name in RESOURCE_LABELS
                    ],
                },
                {
                    "context": "metric",
                    "statements": [
                        "convert_sum_to_gauge() where metric.type == METRIC_DATA_TYPE_SUM "
                        "and metric.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA",
                        # As a gauge: the deltas of one request may begin at different times.
                        f'aggregate_on_attributes("sum", [{", ".join(map(_quoted, LABELS))}])',
                    ],
                },
            ],
        },
        # It answers for the exporter: a queue that is full must not become a refused request.
        "batch": {
            "timeout": f"{_BATCH_SECONDS}s",
            "send_batch_size": _BATCH_POINTS,
            "send_batch_max_size": _BATCH_POINTS,
        },
    }


def exporters(settings: Settings, placement: Placement) -> dict[str, Any]:
    """`prometheus_remote_write`, in order, trying each batch for some minutes."""
    return {
        "prometheus_remote_write": {
            "http": {
                "endpoint": settings.prometheus.url or f"{placement.prometheus}{prometheus.WRITE}",
                "timeout": "10s",
            },
            # Covers all tries of one batch; the exporter gives up after that, whatever it retries.
            "timeout": "300s",
            # It tries at this interval throughout.
            "retry_on_failure": {"initial_interval": "5s", "max_elapsed_time": "300s"},
            "remote_write_queue": {"enabled": True, "queue_size": _QUEUED_BATCHES},
            "max_batch_request_parallelism": 1,
            # Names as the client sends them: these are no counters, and a unit may change.
            "translation_strategy": "UnderscoreEscapingWithoutSuffixes",
            "target_info": {"enabled": False},
            "disable_scope_info": True,
        }
    }


def pipeline() -> dict[str, Any]:
    """From the same connector as the store, so that neither waits for the other."""
    return {
        "receivers": ["forward"],
        "processors": list(processors()),
        "exporters": ["prometheus_remote_write"],
    }


def _quoted(name: str) -> str:
    return f'"{name}"'
