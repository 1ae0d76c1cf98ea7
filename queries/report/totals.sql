-- What was the month like, and what changed against the month before?
--
-- A month that still runs is compared with the same days of the month before. change: in percent,
-- also of a rate.
-- prompts: those by which background work reports included. cache_hit_rate: part of what was read that came
-- from the cache. sessions: unknown where days have outlived their events.
-- param month Date : its first day
-- param through UInt8 = 31 : the last day of the month before that counts
WITH
    sums AS
    (
        SELECT
            toStartOfMonth(day) = {month:Date} AS this,
            toFloat64(sum(d.cost_usd)) AS cost,
            sum(d.prompts) AS prompts,
            sum(d.requests) AS requests,
            sum(d.api_errors) AS api_errors,
            sum(d.tool_calls) AS tool_calls,
            sum(d.tool_failures) AS tool_failures,
            sum(d.output_tokens) AS output,
            sum(d.cache_read_tokens) AS cached,
            cached + sum(d.input_tokens) + sum(d.cache_creation_tokens) AS read
        FROM daily_metrics AS d
        WHERE this OR (toStartOfMonth(day) = addMonths({month:Date}, -1) AND toDayOfMonth(day) <= {through:UInt8})
        GROUP BY this
    ),
    worked AS
    (
        SELECT
            toStartOfMonth(day) = {month:Date} AS this,
            toNullable(toFloat64(uniqExactIf((member, session_id), session_id != '' AND requests > 0))) AS sessions
        FROM sessions_daily
        WHERE this OR (toStartOfMonth(day) = addMonths({month:Date}, -1) AND toDayOfMonth(day) <= {through:UInt8})
        GROUP BY this
        HAVING if(this, {month:Date}, addMonths({month:Date}, -1)) > today() - (SELECT events_days FROM retention)
    ),
    figures AS
    (
        SELECT
            s.this AS this,
            arrayJoin([
                (0, 'cost_usd', s.cost),
                (1, 'sessions', w.sessions),
                (2, 'prompts', s.prompts),
                (3, 'requests', s.requests),
                (4, 'tool_calls', s.tool_calls),
                (5, 'output_tokens', s.output),
                (6, 'tokens_read', s.read),
                (7, 'cache_hit_rate', round(100 * s.cached / nullIf(s.read, 0), 1)),
                (8, 'api_error_rate', round(100 * s.api_errors / nullIf(s.requests + s.api_errors, 0), 2)),
                (9, 'tool_failure_rate', round(100 * s.tool_failures / nullIf(s.tool_calls, 0), 2))]) AS row
        FROM sums AS s LEFT JOIN worked AS w ON s.this = w.this
    )
SELECT
    tupleElement(row, 2) AS figure,
    anyOrNullIf(tupleElement(row, 3), this) AS this_month,
    anyOrNullIf(tupleElement(row, 3), NOT this) AS month_before,
    round(100 * (this_month - month_before) / nullIf(month_before, 0), 1) AS change
FROM figures
GROUP BY figure
ORDER BY any(tupleElement(row, 1))
