"""Prometheus' own configuration, for the one that we run ourselves."""

from __future__ import annotations

import yaml

from infra.settings import Settings

CONFIG = {
    # Sessions overlap, and a request may be sent again: their samples do not come in order of time.
    "storage": {"tsdb": {"out_of_order_time_window": "1d"}}
}
WRITE = "/api/v1/write"
READY = "/-/ready"


def config() -> str:
    """Its configuration file: it scrapes nothing, everything is written to it."""
    text: str = yaml.safe_dump(CONFIG, sort_keys=False)
    return text


def flags(settings: Settings, *, config_file: str, data: str, listen: str) -> tuple[str, ...]:
    """Its command line, without the program."""
    return (
        f"--config.file={config_file}",
        f"--storage.tsdb.path={data}",
        f"--storage.tsdb.retention.time={settings.prometheus.retention_days}d",
        f"--web.listen-address={listen}",
        "--web.enable-remote-write-receiver",
    )


def environment(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Makes Go collect garbage before a memory limit stops the program."""
    return (("GOMEMLIMIT", f"{settings.prometheus.memory_mib * 8 // 10}MiB"),)
