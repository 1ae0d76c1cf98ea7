"""Every program version and image this project runs, in one place.

`make pin-images` rewrites the image lines with digests on a machine that reaches a registry;
the tags below are exact, so two machines run the same programs with or without digests.
"""

from __future__ import annotations

COLLECTOR_VERSION = "0.161.0"
"""OpenTelemetry Collector (core and contrib). A program found elsewhere must be the same minor."""

CLICKHOUSE_MINIMUM = (26, 3)
"""Oldest ClickHouse the schema is written for."""

PROMETHEUS_MINIMUM = (2, 40)
"""Oldest Prometheus of a machine: it must take samples that come out of order."""

# renovate: datasource=docker depName=otel/opentelemetry-collector-contrib
COLLECTOR_IMAGE = (
    "otel/opentelemetry-collector-contrib:0.161.0"
    "@sha256:fd328de2552466ad78385e1b1289c3f2402b1c45f265b252aab1955b42845ac1"
)
# renovate: datasource=docker depName=clickhouse/clickhouse-server
CLICKHOUSE_IMAGE = "clickhouse/clickhouse-server:26.8.20.9"
# renovate: datasource=docker depName=prom/prometheus
PROMETHEUS_IMAGE = "prom/prometheus:v3.15.0"
# renovate: datasource=docker depName=caddy
EDGE_IMAGE = "caddy:2.11.4-alpine"
