"""Names that people and programs agree on."""

from __future__ import annotations

DATABASE = "telemetry"
EVERYWHERE = "telemetry_all"
"""What spans the shards of a cluster (infra/warehouse/scale.py)."""
TEAM_DATABASE = "telemetry_team"
"""What coordinators read: summaries with the names of those in DATABASE, under the cohort floor."""
AUDIT_LOGS = ("query_log", "query_views_log", "session_log")
"""Of `system`: who asked what, and who logged in."""

INGEST_USER = "telemetry_ingest"
ADMIN_USER = "telemetry_admin"
VIEWS_USER = "telemetry_views"
"""Definer of the views; nobody logs in as it."""

LOGS_LANDING = "otel_logs_in"
SUM_LANDING = "otel_metrics_sum_in"
GAUGE_LANDING = "otel_metrics_gauge_in"
EVENTS = "telemetry_events"
DAILY_METRICS, MEMBER_DAILY = "daily_metrics", "member_daily"
"""Days of everybody, and of a member."""
METRIC_POINTS = "metric_points"
CONTENT = "event_content"
MIGRATIONS = "schema_migrations"
TOUCHED_DAYS = "touched_days"
SESSION_LABELS = "session_labels"
SUPPRESSIONS = "suppressions"
KEPT_OUT = "kept_out"
PURGE_REQUESTS = "purge_requests"
PURGE_STATUS = "purge_status"
RETENTION = "retention"
PRICES = "prices"
BUDGET = "budget"
COHORT_FLOOR = "cohort_floor"
SUMMARIES = (
    "usage_daily",
    "tools_daily",
    "errors_daily",
    "activity_hourly",
    "durations_daily",
    "sessions_daily",
    "validations",
    "active_daily",
)
"""Each X with X_now, X_store and X_refresh beside it (0005_rollups.sql, 0007)."""
SUMMARY_REFRESHES = tuple(f"{name}_refresh" for name in SUMMARIES)
DELETIONS = "deletions"
RETENTION_REPORTS = "retention_reports"
RETENTION_REPORTS_KEEP = "retention_reports_keep"
"""Makes one a week."""
DAILY_METRICS_KEEP = "daily_metrics_keep"
"""Writes days down as the summaries have them, so it comes after them."""

OWN_EVENTS = (EVENTS, METRIC_POINTS, CONTENT)
"""Tables of which a member sees their own rows, self-tests left out."""
CLASSES = {
    EVENTS: "events",
    METRIC_POINTS: "metric points",
    CONTENT: "texts",
    SESSION_LABELS: "labels",
}
"""What a retention report calls the rows of a table (0010_retention_reports.sql)."""
OWN_ROWS = (SESSION_LABELS, PURGE_REQUESTS, *(f"{name}_store" for name in SUMMARIES))
"""Tables of which a member sees their own rows."""
DAILY_METRICS_KEPT = "daily_metrics_kept"
ACCESS_LOG = "access_log"
EDGE_LOG = "edge_log"
ACCESS = (ACCESS_LOG, EDGE_LOG)
"""What auditors read: who asked what, and what the edge answered (0013_access_log.sql)."""
ACCESS_KEEPS = tuple(f"{name}_keep" for name in ACCESS)
"""Write them, every minute."""
TEAM_TABLES = (
    "usage_daily",
    "tools_daily",
    "errors_daily",
    "activity_hourly",
    "durations_daily",
    "active_daily",
    "validations",
    "daily_metrics",
)
"""Of TEAM_DATABASE, each written by X_refresh (0012_team.sql)."""
TEAM_SHARED = ("sessions_daily", PRICES, BUDGET, RETENTION, COHORT_FLOOR)
"""Views of TEAM_DATABASE: on its usage_daily, and on what is nobody's."""
TEAM_REFRESHES = tuple(f"{name}_refresh" for name in TEAM_TABLES)

BACKED_UP_BY_DAY = OWN_EVENTS
"""A backup has them day by day of `ts`, without the rows of self-tests."""
BACKED_UP_WHOLE = (
    SESSION_LABELS,
    DAILY_METRICS_KEPT,
    SUPPRESSIONS,
    PURGE_REQUESTS,
    DELETIONS,
    RETENTION_REPORTS,
    *ACCESS,
)
DERIVED = (TOUCHED_DAYS, *(f"{name}_store" for name in SUMMARIES))
"""Tables that are made anew from those."""
NOT_BACKED_UP = (MIGRATIONS, KEPT_OUT)
"""Tables that `up` writes (the backup names the last schema file), and a counter."""

SHARED = (
    MIGRATIONS,
    TOUCHED_DAYS,
    RETENTION,
    PRICES,
    BUDGET,
    COHORT_FLOOR,
    DELETIONS,
    KEPT_OUT,
    PURGE_STATUS,
    "labels",
    "labelled_events",
    "sessions",
    "users",
    "member_daily",
    *SUMMARIES,
    *(f"{name}_now" for name in SUMMARIES),
)
"""Tables and views without rows of anyone, or that show only what the reader may see below them."""
AGGREGATES = (
    "daily_metrics",
    "daily_metrics_now",
    DAILY_METRICS_KEPT,
    RETENTION_REPORTS,
)
"""Days of all members together."""
