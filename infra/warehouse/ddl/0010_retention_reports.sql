-- What is held, for how long, and what went: a report a week, made here without anyone's hand.
--
-- A report is a row a class and day of the events (of labels: the day they were given). What went since the
-- report before is what that one had and this one has not; what a command deleted is in deletions too.

CREATE TABLE IF NOT EXISTS telemetry.deletions
(
    at DateTime64(3, 'UTC') DEFAULT now64(3),
    why LowCardinality(String) COMMENT 'retention, purge or limit',
    class LowCardinality(String) COMMENT 'As in retention_reports',
    rows UInt64,
    first_day Date COMMENT 'Of what was deleted',
    last_day Date
)
ENGINE = ReplacingMergeTree
ORDER BY (at, why, class, first_day, last_day);

-- As the settings say, `telemetry up` writes it anew when all files are applied.
CREATE OR REPLACE VIEW telemetry.retention AS SELECT 90 AS events_days, 90 AS metrics_days, 14 AS content_days;

CREATE OR REPLACE VIEW telemetry.retention_held
AS WITH
    held AS
    (
        SELECT 'telemetry_events' AS table, toDate(ts) AS day, count() AS rows FROM telemetry.telemetry_events GROUP BY day
        UNION ALL
        SELECT 'metric_points' AS table, toDate(ts) AS day, count() AS rows FROM telemetry.metric_points GROUP BY day
        UNION ALL
        SELECT 'event_content' AS table, toDate(ts) AS day, count() AS rows FROM telemetry.event_content GROUP BY day
        UNION ALL
        SELECT 'session_labels' AS table, toDate(labelled_at) AS day, count() AS rows FROM telemetry.session_labels GROUP BY day
        UNION ALL
        SELECT 'usage_daily_store' AS table, day, count() AS rows FROM telemetry.usage_daily_store GROUP BY day
        UNION ALL
        SELECT 'tools_daily_store' AS table, day, count() AS rows FROM telemetry.tools_daily_store GROUP BY day
        UNION ALL
        SELECT 'errors_daily_store' AS table, day, count() AS rows FROM telemetry.errors_daily_store GROUP BY day
        UNION ALL
        SELECT 'activity_hourly_store' AS table, day, count() AS rows FROM telemetry.activity_hourly_store GROUP BY day
        UNION ALL
        SELECT 'durations_daily_store' AS table, day, count() AS rows FROM telemetry.durations_daily_store GROUP BY day
        UNION ALL
        SELECT 'sessions_daily_store' AS table, day, count() AS rows FROM telemetry.sessions_daily_store GROUP BY day
        UNION ALL
        SELECT 'validations_store' AS table, day, count() AS rows FROM telemetry.validations_store GROUP BY day
        UNION ALL
        SELECT 'active_daily_store' AS table, day, count() AS rows FROM telemetry.active_daily_store GROUP BY day
        UNION ALL
        SELECT 'daily_metrics_kept' AS table, day, count() AS rows FROM telemetry.daily_metrics_kept WHERE day > toDate(0) GROUP BY day
    ),
    sizes AS
    (
        SELECT table, sum(bytes_on_disk) / sum(rows) AS bytes_a_row
        FROM system.parts
        WHERE database = 'telemetry' AND active
        GROUP BY table
        HAVING sum(rows) > 0
    ),
    transform(table,
        ['telemetry_events', 'metric_points', 'event_content', 'session_labels', 'daily_metrics_kept'],
        ['events', 'metric points', 'texts', 'labels', 'days of the team'], 'summaries by member') AS what
SELECT
    what AS class,
    h.day AS day,
    sum(h.rows) AS rows,
    toUInt64(sum(h.rows * s.bytes_a_row)) AS bytes,
    any(transform(what,
        ['metric points', 'texts', 'days of the team'],
        [(SELECT metrics_days FROM telemetry.retention), (SELECT content_days FROM telemetry.retention), 0],
        (SELECT events_days FROM telemetry.retention))) AS keep_days
FROM held AS h
LEFT ANY JOIN sizes AS s ON h.table = s.table
GROUP BY class, day;

CREATE TABLE IF NOT EXISTS telemetry.retention_reports
(
    made_at DateTime COMMENT 'UTC; one report has one time',
    class LowCardinality(String) COMMENT 'Empty: a row that stands for the report itself',
    day Date,
    rows UInt64,
    bytes UInt64 COMMENT 'On disk, about',
    keep_days UInt32 COMMENT '0: for ever'
)
ENGINE = ReplacingMergeTree
ORDER BY (made_at, class, day);

-- Every hour, so that a machine that slept on Monday makes it when it wakes.
CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.retention_reports_keep
REFRESH EVERY 1 HOUR APPEND TO telemetry.retention_reports
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT now() AS made_at, class, day, rows, bytes, keep_days
FROM
(
    SELECT class, day, rows, bytes, keep_days FROM telemetry.retention_held
    UNION ALL
    SELECT '' AS class, toDate(0) AS day, 0 AS rows, 0 AS bytes, 0 AS keep_days
)
WHERE (SELECT max(made_at) FROM telemetry.retention_reports) < toDateTime(toStartOfWeek(now(), 1));
