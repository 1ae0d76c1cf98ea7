"""The collector's configuration, read left to right: receive, identify, sanitize, sample, queue,
store."""

from __future__ import annotations

from typing import Any

import yaml

from infra.collector import (
    authenticate,
    identify,
    queue,
    receive,
    remote_write,
    sample,
    sanitize,
    store,
)
from infra.collector.placement import Placement
from infra.settings import Settings

_FIRST, _LAST = ("memory_limiter", "transform/identify"), "transform/sanitize"


def collector_config(settings: Settings, placement: Placement) -> dict[str, Any]:
    """The whole configuration as plain data; the same keys on every stack."""
    to_prometheus = remote_write.wanted(settings)
    receivers = receive.receivers(settings, placement)
    login = authenticate.PROCESSORS if authenticate.wanted(placement) else ()
    steps = [*_FIRST, *login, _LAST]
    checks = authenticate.extensions(settings, placement)
    return {
        "receivers": receivers,
        "processors": {
            **receive.processors(settings),
            **identify.processors(placement),
            **authenticate.processors(settings, placement),
            **sanitize.processors(settings, placement),
            **sample.processors(settings),
            **(remote_write.processors() if to_prometheus else {}),
        },
        "connectors": {"forward": {}},
        "exporters": {
            **store.exporters(settings, placement),
            **(remote_write.exporters(settings, placement) if to_prometheus else {}),
        },
        "extensions": {
            "health_check": {"endpoint": f"{placement.listen}:{placement.health_port}"},
            **queue.extensions(settings, placement),
            **checks,
        },
        "service": {
            "extensions": ["health_check", queue.STORAGE, *checks],
            "pipelines": {
                **_pipelines(
                    "logs",
                    list(receivers),
                    [*steps, *([sample.PROCESSOR] if sample.wanted(settings) else [])],
                    stored=True,
                ),
                **_pipelines(
                    "metrics", list(receivers), steps, stored=settings.backend != "prometheus"
                ),
                **({"metrics/prometheus": remote_write.pipeline()} if to_prometheus else {}),
            },
            "telemetry": _own_telemetry(placement),
        },
    }


def _pipelines(
    signal: str, receivers: list[str], steps: list[str], *, stored: bool
) -> dict[str, Any]:
    store_pipeline = {
        f"{signal}/store": {
            "receivers": ["forward"],
            "processors": ["filter/store"],
            "exporters": ["clickhouse"],
        }
    }
    return {
        signal: {
            "receivers": list(receivers),
            "processors": list(steps),
            "exporters": ["forward"],
        },
        **(store_pipeline if stored else {}),
        f"{signal}/aside": {
            "receivers": ["forward"],
            "processors": ["filter/aside"],
            "exporters": ["file/aside"],
        },
    }


def _own_telemetry(placement: Placement) -> dict[str, Any]:
    return {
        "logs": {"level": "info", "encoding": "console"},
        "metrics": {
            "level": "normal",
            "readers": [
                {
                    "pull": {
                        "exporter": {
                            "prometheus": {
                                "host": placement.listen,
                                "port": placement.metrics_port,
                            }
                        }
                    }
                }
            ],
        },
    }


class _Plain(yaml.SafeDumper):
    """Writes repeated values out instead of as anchors, which reviewers misread."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (PyYAML names it)
        return True


def render(config: dict[str, Any]) -> str:
    """YAML as the collector reads it."""
    text: str = yaml.dump(config, Dumper=_Plain, sort_keys=False, width=1000, allow_unicode=True)
    return text
