"""Names that people and programs agree on."""

from __future__ import annotations

DATABASE = "telemetry"

INGEST_USER = "telemetry_ingest"
ADMIN_USER = "telemetry_admin"
VIEWS_USER = "telemetry_views"
"""Definer of the views; nobody logs in as it."""

LOGS_LANDING = "otel_logs_in"
SUM_LANDING = "otel_metrics_sum_in"
GAUGE_LANDING = "otel_metrics_gauge_in"
EVENTS = "telemetry_events"
METRIC_POINTS = "metric_points"
MIGRATIONS = "schema_migrations"
