-- daily_metrics: every day as a whole, with nobody in it, kept for ever.
--
-- While all events of a day are there, it is asked of them (daily_metrics_now), so late events and
-- deletions count. Every hour the answer is written down (daily_metrics_kept), as one version of that
-- day; once the first of its events may have reached their age, the last version is what stays.
-- Events that arrive later than that are not added.

-- Days that rows are kept; `telemetry up` writes it anew from the settings.
CREATE VIEW IF NOT EXISTS telemetry.retention AS SELECT 90 AS events_days, 90 AS metrics_days;

CREATE OR REPLACE VIEW telemetry.daily_metrics_now
AS SELECT
    day, team, chapter,
    uniqExact(member) AS members,
    uniqExactIf((s.member, s.session_id), s.prompts + s.requests + s.api_errors + s.tool_calls > 0) AS sessions,
    sum(s.prompts) AS prompts,
    sum(s.requests) AS requests,
    sum(s.api_errors) AS api_errors,
    sum(s.tool_calls) AS tool_calls,
    sum(s.tool_failures) AS tool_failures,
    sum(s.edits) AS edits,
    sum(s.approved) AS approved,
    sum(s.rejected) AS rejected,
    sum(s.cost_usd) AS cost_usd,
    sum(s.input_tokens) AS input_tokens,
    sum(s.output_tokens) AS output_tokens,
    sum(s.cache_read_tokens) AS cache_read_tokens,
    sum(s.cache_creation_tokens) AS cache_creation_tokens
FROM telemetry.sessions_daily AS s
WHERE day > today() - (SELECT events_days FROM telemetry.retention)
GROUP BY day, team, chapter;

CREATE TABLE IF NOT EXISTS telemetry.daily_metrics_kept
ENGINE = ReplacingMergeTree(version) ORDER BY (day, team, chapter)
EMPTY AS SELECT *, now() AS version FROM telemetry.daily_metrics_now;

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.daily_metrics_keep
REFRESH EVERY 1 HOUR APPEND TO telemetry.daily_metrics_kept
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT *, now() AS version FROM telemetry.daily_metrics_now;

CREATE OR REPLACE VIEW telemetry.daily_metrics
AS SELECT * FROM telemetry.daily_metrics_now
UNION ALL
SELECT * EXCEPT version FROM telemetry.daily_metrics_kept FINAL
WHERE day <= today() - (SELECT events_days FROM telemetry.retention)
    AND (day, version) IN (SELECT day, max(version) FROM telemetry.daily_metrics_kept GROUP BY day);
