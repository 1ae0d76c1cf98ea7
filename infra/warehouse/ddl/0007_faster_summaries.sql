-- The summaries of 0005, sooner answered. What a summary reads of touched days stands in X itself instead of
-- in X_now, labels are joined as a table, and the time of the refresh is read from one row: planning all of
-- that took longer than answering. Percentiles come from a summary of their own.
--
-- X_now and the second half of X ask the same; a test holds them together.

-- --- usage_daily

DROP TABLE IF EXISTS telemetry.usage_daily_refresh;

DROP TABLE IF EXISTS telemetry.usage_daily_store;

CREATE OR REPLACE VIEW telemetry.usage_daily_now
AS SELECT
    toDate(e.ts) AS day,
    e.member AS member,
    e.team AS team,
    if(l.chapter = '', e.chapter, l.chapter) AS chapter,
    e.git_branch AS git_branch,
    e.model AS model,
    e.query_source AS query_source,
    e.agent_name AS agent_name,
    e.speed AS speed,
    e.client_version AS client_version,
    sum(e.weight) AS requests,
    sumIf(e.weight, e.cost_usd IS NULL) AS requests_without_cost,
    CAST(sum(e.cost_usd * toDecimal128(e.weight, 6)), 'Nullable(Decimal(38, 9))') AS cost_usd,
    sum(e.input_tokens * e.weight) AS input_tokens,
    sum(e.output_tokens * e.weight) AS output_tokens,
    sum(e.cache_read_tokens * e.weight) AS cache_read_tokens,
    sum(e.cache_creation_tokens * e.weight) AS cache_creation_tokens,
    sum(e.cache_creation_5m_tokens * e.weight) AS cache_creation_5m_tokens,
    sum(e.cache_creation_1h_tokens * e.weight) AS cache_creation_1h_tokens,
    -- Written to the cache by a client that does not tell for how long.
    ifNull(sumIf((e.cache_creation_tokens - ifNull(e.cache_creation_1h_tokens, 0)) * e.weight, e.cache_creation_5m_tokens IS NULL), 0) AS cache_creation_untold_tokens,
    sum(e.duration_ms * e.weight) AS duration_ms
FROM telemetry.telemetry_events AS e FINAL
LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
WHERE e.synthetic = '' AND e.event = 'api_request'
GROUP BY day, member, team, chapter, git_branch, model, query_source, agent_name, speed, client_version;

CREATE TABLE IF NOT EXISTS telemetry.usage_daily_store
ENGINE = MergeTree ORDER BY (day, member, chapter, model)
EMPTY AS SELECT *, now() AS refreshed_at FROM telemetry.usage_daily_now;

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.usage_daily_refresh
REFRESH EVERY 10 MINUTE TO telemetry.usage_daily_store
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT *, now() AS refreshed_at FROM telemetry.usage_daily_now;

CREATE OR REPLACE VIEW telemetry.usage_daily
AS WITH (SELECT max(refreshed_at) FROM (SELECT refreshed_at FROM telemetry.usage_daily_store LIMIT 1)) AS refreshed
SELECT * EXCEPT refreshed_at FROM telemetry.usage_daily_store
WHERE day NOT IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
UNION ALL
SELECT
    toDate(e.ts) AS day,
    e.member AS member,
    e.team AS team,
    if(l.chapter = '', e.chapter, l.chapter) AS chapter,
    e.git_branch AS git_branch,
    e.model AS model,
    e.query_source AS query_source,
    e.agent_name AS agent_name,
    e.speed AS speed,
    e.client_version AS client_version,
    sum(e.weight) AS requests,
    sumIf(e.weight, e.cost_usd IS NULL) AS requests_without_cost,
    CAST(sum(e.cost_usd * toDecimal128(e.weight, 6)), 'Nullable(Decimal(38, 9))') AS cost_usd,
    sum(e.input_tokens * e.weight) AS input_tokens,
    sum(e.output_tokens * e.weight) AS output_tokens,
    sum(e.cache_read_tokens * e.weight) AS cache_read_tokens,
    sum(e.cache_creation_tokens * e.weight) AS cache_creation_tokens,
    sum(e.cache_creation_5m_tokens * e.weight) AS cache_creation_5m_tokens,
    sum(e.cache_creation_1h_tokens * e.weight) AS cache_creation_1h_tokens,
    -- Written to the cache by a client that does not tell for how long.
    ifNull(sumIf((e.cache_creation_tokens - ifNull(e.cache_creation_1h_tokens, 0)) * e.weight, e.cache_creation_5m_tokens IS NULL), 0) AS cache_creation_untold_tokens,
    sum(e.duration_ms * e.weight) AS duration_ms
FROM telemetry.telemetry_events AS e FINAL
LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
WHERE toDate(e.ts) IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
    AND e.synthetic = '' AND e.event = 'api_request'
GROUP BY day, member, team, chapter, git_branch, model, query_source, agent_name, speed, client_version;

-- --- tools_daily

DROP TABLE IF EXISTS telemetry.tools_daily_refresh;

DROP TABLE IF EXISTS telemetry.tools_daily_store;

CREATE OR REPLACE VIEW telemetry.tools_daily_now
AS SELECT
    toDate(e.ts) AS day,
    e.member AS member,
    e.team AS team,
    if(l.chapter = '', e.chapter, l.chapter) AS chapter,
    e.tool_name AS tool_name,
    sumIf(e.weight, e.event = 'tool_result') AS calls,
    sumIf(e.weight, e.event = 'tool_result' AND e.success = false) AS failures,
    sumIf(e.weight, e.event = 'tool_decision' AND e.decision = 'accept' AND NOT startsWith(e.decision_source, 'user_')) AS accepted_by_rule,
    sumIf(e.weight, e.event = 'tool_decision' AND e.decision = 'reject' AND NOT startsWith(e.decision_source, 'user_')) AS rejected_by_rule,
    sumIf(e.weight, e.event = 'tool_decision' AND e.decision = 'accept' AND startsWith(e.decision_source, 'user_')) AS accepted_by_person,
    sumIf(e.weight, e.event = 'tool_decision' AND e.decision = 'reject' AND startsWith(e.decision_source, 'user_')) AS rejected_by_person,
    sumIf(e.tool_result_size_bytes * e.weight, e.event = 'tool_result') AS result_bytes,
    sumIf(e.duration_ms * e.weight, e.event = 'tool_result') AS duration_ms
FROM telemetry.telemetry_events AS e FINAL
LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
WHERE e.synthetic = '' AND e.event IN ('tool_result', 'tool_decision')
GROUP BY day, member, team, chapter, tool_name;

CREATE TABLE IF NOT EXISTS telemetry.tools_daily_store
ENGINE = MergeTree ORDER BY (day, member, chapter, tool_name)
EMPTY AS SELECT *, now() AS refreshed_at FROM telemetry.tools_daily_now;

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.tools_daily_refresh
REFRESH EVERY 10 MINUTE TO telemetry.tools_daily_store
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT *, now() AS refreshed_at FROM telemetry.tools_daily_now;

CREATE OR REPLACE VIEW telemetry.tools_daily
AS WITH (SELECT max(refreshed_at) FROM (SELECT refreshed_at FROM telemetry.tools_daily_store LIMIT 1)) AS refreshed
SELECT * EXCEPT refreshed_at FROM telemetry.tools_daily_store
WHERE day NOT IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
UNION ALL
SELECT
    toDate(e.ts) AS day,
    e.member AS member,
    e.team AS team,
    if(l.chapter = '', e.chapter, l.chapter) AS chapter,
    e.tool_name AS tool_name,
    sumIf(e.weight, e.event = 'tool_result') AS calls,
    sumIf(e.weight, e.event = 'tool_result' AND e.success = false) AS failures,
    sumIf(e.weight, e.event = 'tool_decision' AND e.decision = 'accept' AND NOT startsWith(e.decision_source, 'user_')) AS accepted_by_rule,
    sumIf(e.weight, e.event = 'tool_decision' AND e.decision = 'reject' AND NOT startsWith(e.decision_source, 'user_')) AS rejected_by_rule,
    sumIf(e.weight, e.event = 'tool_decision' AND e.decision = 'accept' AND startsWith(e.decision_source, 'user_')) AS accepted_by_person,
    sumIf(e.weight, e.event = 'tool_decision' AND e.decision = 'reject' AND startsWith(e.decision_source, 'user_')) AS rejected_by_person,
    sumIf(e.tool_result_size_bytes * e.weight, e.event = 'tool_result') AS result_bytes,
    sumIf(e.duration_ms * e.weight, e.event = 'tool_result') AS duration_ms
FROM telemetry.telemetry_events AS e FINAL
LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
WHERE toDate(e.ts) IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
    AND e.synthetic = '' AND e.event IN ('tool_result', 'tool_decision')
GROUP BY day, member, team, chapter, tool_name;

-- --- durations_daily: how long API requests and tools took. about_ms is what was measured, or within 5 % of it.

CREATE OR REPLACE VIEW telemetry.durations_daily_now
AS SELECT
    toDate(e.ts) AS day,
    e.member AS member,
    e.team AS team,
    e.event AS event,
    e.model AS model,
    e.tool_name AS tool_name,
    if(e.duration_ms < 128, e.duration_ms, toUInt64(round(exp2(round(log2(e.duration_ms) * 8) / 8)))) AS about_ms,
    sum(e.weight) AS events,
    sum(e.duration_ms * e.weight) AS duration_ms
FROM telemetry.telemetry_events AS e FINAL
WHERE e.synthetic = '' AND e.event IN ('api_request', 'tool_result')
GROUP BY day, member, team, event, model, tool_name, about_ms;

CREATE TABLE IF NOT EXISTS telemetry.durations_daily_store
ENGINE = MergeTree ORDER BY (day, event, member)
EMPTY AS SELECT *, now() AS refreshed_at FROM telemetry.durations_daily_now;

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.durations_daily_refresh
REFRESH EVERY 10 MINUTE TO telemetry.durations_daily_store
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT *, now() AS refreshed_at FROM telemetry.durations_daily_now;

CREATE OR REPLACE VIEW telemetry.durations_daily
AS WITH (SELECT max(refreshed_at) FROM (SELECT refreshed_at FROM telemetry.durations_daily_store LIMIT 1)) AS refreshed
SELECT * EXCEPT refreshed_at FROM telemetry.durations_daily_store
WHERE day NOT IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
UNION ALL
SELECT
    toDate(e.ts) AS day,
    e.member AS member,
    e.team AS team,
    e.event AS event,
    e.model AS model,
    e.tool_name AS tool_name,
    if(e.duration_ms < 128, e.duration_ms, toUInt64(round(exp2(round(log2(e.duration_ms) * 8) / 8)))) AS about_ms,
    sum(e.weight) AS events,
    sum(e.duration_ms * e.weight) AS duration_ms
FROM telemetry.telemetry_events AS e FINAL
WHERE toDate(e.ts) IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
    AND e.synthetic = '' AND e.event IN ('api_request', 'tool_result')
GROUP BY day, member, team, event, model, tool_name, about_ms;

-- --- errors_daily

CREATE OR REPLACE VIEW telemetry.errors_daily_now
AS SELECT
    toDate(e.ts) AS day,
    e.member AS member,
    e.team AS team,
    if(l.chapter = '', e.chapter, l.chapter) AS chapter,
    e.event AS event,
    e.model AS model,
    e.tool_name AS tool_name,
    e.error_type AS error_type,
    e.status_code AS status_code,
    e.error AS error,
    sum(e.weight) AS errors,
    max(e.ts) AS last_ts
FROM telemetry.telemetry_events AS e FINAL
LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
WHERE e.synthetic = '' AND (e.event IN ('api_error', 'api_retries_exhausted', 'api_refusal', 'internal_error') OR e.success = false)
GROUP BY day, member, team, chapter, event, model, tool_name, error_type, status_code, error;

CREATE OR REPLACE VIEW telemetry.errors_daily
AS WITH (SELECT max(refreshed_at) FROM (SELECT refreshed_at FROM telemetry.errors_daily_store LIMIT 1)) AS refreshed
SELECT * EXCEPT refreshed_at FROM telemetry.errors_daily_store
WHERE day NOT IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
UNION ALL
SELECT
    toDate(e.ts) AS day,
    e.member AS member,
    e.team AS team,
    if(l.chapter = '', e.chapter, l.chapter) AS chapter,
    e.event AS event,
    e.model AS model,
    e.tool_name AS tool_name,
    e.error_type AS error_type,
    e.status_code AS status_code,
    e.error AS error,
    sum(e.weight) AS errors,
    max(e.ts) AS last_ts
FROM telemetry.telemetry_events AS e FINAL
LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
WHERE toDate(e.ts) IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
    AND e.synthetic = '' AND (e.event IN ('api_error', 'api_retries_exhausted', 'api_refusal', 'internal_error') OR e.success = false)
GROUP BY day, member, team, chapter, event, model, tool_name, error_type, status_code, error;

-- --- activity_hourly

CREATE OR REPLACE VIEW telemetry.activity_hourly_now
AS SELECT
    toDate(e.ts) AS day,
    toStartOfHour(e.ts) AS hour,
    e.member AS member,
    e.team AS team,
    if(l.chapter = '', e.chapter, l.chapter) AS chapter,
    sum(e.weight) AS events,
    sumIf(e.weight, e.event = 'user_prompt') AS prompts,
    sumIf(e.weight, e.event = 'api_request') AS requests,
    sumIf(e.weight, e.event = 'tool_result') AS tool_calls,
    sumIf(e.weight, e.event = 'api_error' OR e.success = false) AS failures,
    CAST(sumIf(e.cost_usd * toDecimal128(e.weight, 6), e.event = 'api_request'), 'Nullable(Decimal(38, 9))') AS cost_usd
FROM telemetry.telemetry_events AS e FINAL
LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
WHERE e.synthetic = ''
GROUP BY day, hour, member, team, chapter;

CREATE OR REPLACE VIEW telemetry.activity_hourly
AS WITH (SELECT max(refreshed_at) FROM (SELECT refreshed_at FROM telemetry.activity_hourly_store LIMIT 1)) AS refreshed
SELECT * EXCEPT refreshed_at FROM telemetry.activity_hourly_store
WHERE day NOT IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
UNION ALL
SELECT
    toDate(e.ts) AS day,
    toStartOfHour(e.ts) AS hour,
    e.member AS member,
    e.team AS team,
    if(l.chapter = '', e.chapter, l.chapter) AS chapter,
    sum(e.weight) AS events,
    sumIf(e.weight, e.event = 'user_prompt') AS prompts,
    sumIf(e.weight, e.event = 'api_request') AS requests,
    sumIf(e.weight, e.event = 'tool_result') AS tool_calls,
    sumIf(e.weight, e.event = 'api_error' OR e.success = false) AS failures,
    CAST(sumIf(e.cost_usd * toDecimal128(e.weight, 6), e.event = 'api_request'), 'Nullable(Decimal(38, 9))') AS cost_usd
FROM telemetry.telemetry_events AS e FINAL
LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
WHERE toDate(e.ts) IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
    AND e.synthetic = ''
GROUP BY day, hour, member, team, chapter;

-- --- sessions_daily

DROP TABLE IF EXISTS telemetry.sessions_daily_refresh;

DROP TABLE IF EXISTS telemetry.sessions_daily_store;

CREATE OR REPLACE VIEW telemetry.sessions_daily_now
AS SELECT
    toDate(e.ts) AS day,
    e.member AS member,
    e.session_id AS session_id,
    e.team AS team,
    if(l.chapter = '', e.chapter, l.chapter) AS chapter,
    e.git_branch AS git_branch,
    min(e.ts) AS started,
    max(e.ts) AS ended,
    max(e.user_id) AS user_id,
    max(e.extra['user.account_uuid']) AS account,
    argMax(e.client_version, e.ts) AS client_version,
    argMax(e.terminal_type, e.ts) AS terminal_type,
    argMax(e.os_type, e.ts) AS os_type,
    groupUniqArrayIf(e.model, e.event = 'api_request') AS models,
    sum(e.weight) AS events,
    sumIf(e.weight, e.event = 'user_prompt') AS prompts,
    sumIf(e.weight, e.event = 'user_prompt' AND e.command_name != '') AS commands,
    -- A subagent that ran in the background reports by a prompt of its own when it ends.
    sumIf(e.weight, e.event = 'subagent_completed' AND e.extra['is_async'] = 'true') AS background_reports,
    sumIf(e.weight, e.event = 'subagent_completed') AS subagents,
    sumIf(e.weight, e.event = 'api_request') AS requests,
    sumIf(e.weight, e.event = 'api_error') AS api_errors,
    sumIf(e.weight, e.event = 'api_refusal') AS refusals,
    sumIf(e.weight, e.event = 'compaction') AS compactions,
    sumIf(e.weight, e.event = 'tool_result') AS tool_calls,
    sumIf(e.weight, e.event = 'tool_result' AND e.success = false) AS tool_failures,
    sumIf(e.weight, e.event = 'tool_result' AND e.success AND e.tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit')) AS edits,
    sumIf(e.weight, e.event = 'tool_result' AND e.success = false AND e.tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit')) AS failed_edits,
    mapValues(sumMapIf(map(e.prompt_id, e.weight), e.event = 'tool_result' AND e.success AND e.prompt_id != ''
        AND e.tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit'))) AS edits_by_prompt,
    sumIf(e.weight, e.event_type = 'validation_result' AND e.decision = 'accept') AS approved,
    sumIf(e.weight, e.event_type = 'validation_result' AND e.decision = 'reject') AS rejected,
    CAST(sumIf(e.cost_usd * toDecimal128(e.weight, 6), e.event = 'api_request'), 'Nullable(Decimal(38, 9))') AS cost_usd,
    sumIf(e.input_tokens * e.weight, e.event = 'api_request') AS input_tokens,
    sumIf(e.output_tokens * e.weight, e.event = 'api_request') AS output_tokens,
    sumIf(e.cache_read_tokens * e.weight, e.event = 'api_request') AS cache_read_tokens,
    sumIf(e.cache_creation_tokens * e.weight, e.event = 'api_request') AS cache_creation_tokens
FROM telemetry.telemetry_events AS e FINAL
LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
WHERE e.synthetic = ''
GROUP BY day, member, session_id, team, chapter, git_branch;

CREATE TABLE IF NOT EXISTS telemetry.sessions_daily_store
ENGINE = MergeTree ORDER BY (day, member, session_id)
EMPTY AS SELECT *, now() AS refreshed_at FROM telemetry.sessions_daily_now;

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.sessions_daily_refresh
REFRESH EVERY 10 MINUTE TO telemetry.sessions_daily_store
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT *, now() AS refreshed_at FROM telemetry.sessions_daily_now;

CREATE OR REPLACE VIEW telemetry.sessions_daily
AS WITH (SELECT max(refreshed_at) FROM (SELECT refreshed_at FROM telemetry.sessions_daily_store LIMIT 1)) AS refreshed
SELECT * EXCEPT refreshed_at FROM telemetry.sessions_daily_store
WHERE day NOT IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
UNION ALL
SELECT
    toDate(e.ts) AS day,
    e.member AS member,
    e.session_id AS session_id,
    e.team AS team,
    if(l.chapter = '', e.chapter, l.chapter) AS chapter,
    e.git_branch AS git_branch,
    min(e.ts) AS started,
    max(e.ts) AS ended,
    max(e.user_id) AS user_id,
    max(e.extra['user.account_uuid']) AS account,
    argMax(e.client_version, e.ts) AS client_version,
    argMax(e.terminal_type, e.ts) AS terminal_type,
    argMax(e.os_type, e.ts) AS os_type,
    groupUniqArrayIf(e.model, e.event = 'api_request') AS models,
    sum(e.weight) AS events,
    sumIf(e.weight, e.event = 'user_prompt') AS prompts,
    sumIf(e.weight, e.event = 'user_prompt' AND e.command_name != '') AS commands,
    -- A subagent that ran in the background reports by a prompt of its own when it ends.
    sumIf(e.weight, e.event = 'subagent_completed' AND e.extra['is_async'] = 'true') AS background_reports,
    sumIf(e.weight, e.event = 'subagent_completed') AS subagents,
    sumIf(e.weight, e.event = 'api_request') AS requests,
    sumIf(e.weight, e.event = 'api_error') AS api_errors,
    sumIf(e.weight, e.event = 'api_refusal') AS refusals,
    sumIf(e.weight, e.event = 'compaction') AS compactions,
    sumIf(e.weight, e.event = 'tool_result') AS tool_calls,
    sumIf(e.weight, e.event = 'tool_result' AND e.success = false) AS tool_failures,
    sumIf(e.weight, e.event = 'tool_result' AND e.success AND e.tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit')) AS edits,
    sumIf(e.weight, e.event = 'tool_result' AND e.success = false AND e.tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit')) AS failed_edits,
    mapValues(sumMapIf(map(e.prompt_id, e.weight), e.event = 'tool_result' AND e.success AND e.prompt_id != ''
        AND e.tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit'))) AS edits_by_prompt,
    sumIf(e.weight, e.event_type = 'validation_result' AND e.decision = 'accept') AS approved,
    sumIf(e.weight, e.event_type = 'validation_result' AND e.decision = 'reject') AS rejected,
    CAST(sumIf(e.cost_usd * toDecimal128(e.weight, 6), e.event = 'api_request'), 'Nullable(Decimal(38, 9))') AS cost_usd,
    sumIf(e.input_tokens * e.weight, e.event = 'api_request') AS input_tokens,
    sumIf(e.output_tokens * e.weight, e.event = 'api_request') AS output_tokens,
    sumIf(e.cache_read_tokens * e.weight, e.event = 'api_request') AS cache_read_tokens,
    sumIf(e.cache_creation_tokens * e.weight, e.event = 'api_request') AS cache_creation_tokens
FROM telemetry.telemetry_events AS e FINAL
LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
WHERE toDate(e.ts) IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
    AND e.synthetic = ''
GROUP BY day, member, session_id, team, chapter, git_branch;

-- --- validations: modified means rejected, and prompted anew in the same session. A prompt of another day than
-- the rejection is seen at the next refresh.

CREATE OR REPLACE VIEW telemetry.validations_now
AS SELECT
    tupleElement(d, 'ts') AS ts,
    toDate(ts) AS day,
    member,
    session_id,
    tupleElement(d, 'team') AS team,
    tupleElement(d, 'chapter') AS chapter,
    tupleElement(d, 'tool_name') AS tool_name,
    tupleElement(d, 'permission_mode') AS permission_mode,
    tupleElement(d, 'decision_source') AS decision_source,
    multiIf(tupleElement(d, 'decision') = 'accept', 'approved', last_prompt > ts, 'modified', 'rejected') AS outcome,
    tupleElement(d, 'weight') AS weight
FROM
(
    SELECT
        e.member AS member,
        e.session_id AS session_id,
        groupArrayIf(CAST(
            (e.ts, e.team, if(l.chapter = '', e.chapter, l.chapter), e.tool_name, e.permission_mode, e.decision, e.decision_source, e.weight),
            'Tuple(ts DateTime64(3, \'UTC\'), team LowCardinality(String), chapter LowCardinality(String), tool_name LowCardinality(String), permission_mode LowCardinality(String), decision LowCardinality(String), decision_source LowCardinality(String), weight Float64)'),
            e.event_type = 'validation_result') AS decisions,
        maxIf(e.ts, e.event = 'user_prompt' AND e.command_name NOT IN ('exit', 'quit', 'clear')) AS last_prompt
    FROM telemetry.telemetry_events AS e FINAL
    LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
    WHERE e.synthetic = '' AND e.event_type IN ('validation_result', 'user_prompt')
    GROUP BY member, session_id
    HAVING notEmpty(decisions)
)
ARRAY JOIN decisions AS d;

CREATE OR REPLACE VIEW telemetry.validations
AS WITH (SELECT max(refreshed_at) FROM (SELECT refreshed_at FROM telemetry.validations_store LIMIT 1)) AS refreshed
SELECT * EXCEPT refreshed_at FROM telemetry.validations_store
WHERE day NOT IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
UNION ALL
SELECT
    tupleElement(d, 'ts') AS ts,
    toDate(ts) AS day,
    member,
    session_id,
    tupleElement(d, 'team') AS team,
    tupleElement(d, 'chapter') AS chapter,
    tupleElement(d, 'tool_name') AS tool_name,
    tupleElement(d, 'permission_mode') AS permission_mode,
    tupleElement(d, 'decision_source') AS decision_source,
    multiIf(tupleElement(d, 'decision') = 'accept', 'approved', last_prompt > ts, 'modified', 'rejected') AS outcome,
    tupleElement(d, 'weight') AS weight
FROM
(
    SELECT
        e.member AS member,
        e.session_id AS session_id,
        groupArrayIf(CAST(
            (e.ts, e.team, if(l.chapter = '', e.chapter, l.chapter), e.tool_name, e.permission_mode, e.decision, e.decision_source, e.weight),
            'Tuple(ts DateTime64(3, \'UTC\'), team LowCardinality(String), chapter LowCardinality(String), tool_name LowCardinality(String), permission_mode LowCardinality(String), decision LowCardinality(String), decision_source LowCardinality(String), weight Float64)'),
            e.event_type = 'validation_result') AS decisions,
        maxIf(e.ts, e.event = 'user_prompt' AND e.command_name NOT IN ('exit', 'quit', 'clear')) AS last_prompt
    FROM telemetry.telemetry_events AS e FINAL
    LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
    WHERE toDate(e.ts) IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
        AND e.synthetic = '' AND e.event_type IN ('validation_result', 'user_prompt')
    GROUP BY member, session_id
    HAVING notEmpty(decisions)
)
ARRAY JOIN decisions AS d;

-- --- active_daily

CREATE OR REPLACE VIEW telemetry.active_daily_now
AS SELECT
    day, member, session_id,
    sum(if(temporality = 'cumulative', largest, total)) AS active_s
FROM
(
    SELECT toDate(p.ts) AS day, p.member AS member, p.session_id AS session_id, p.temporality AS temporality,
        sum(p.value * p.weight) AS total, max(p.value) AS largest
    FROM telemetry.metric_points AS p FINAL
    WHERE p.metric = 'claude_code.active_time.total' AND p.synthetic = ''
    GROUP BY day, member, session_id, temporality, p.type, p.start_ts
)
GROUP BY day, member, session_id;

CREATE OR REPLACE VIEW telemetry.active_daily
AS WITH (SELECT max(refreshed_at) FROM (SELECT refreshed_at FROM telemetry.active_daily_store LIMIT 1)) AS refreshed
SELECT * EXCEPT refreshed_at FROM telemetry.active_daily_store
WHERE day NOT IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
UNION ALL
SELECT
    day, member, session_id,
    sum(if(temporality = 'cumulative', largest, total)) AS active_s
FROM
(
    SELECT toDate(p.ts) AS day, p.member AS member, p.session_id AS session_id, p.temporality AS temporality,
        sum(p.value * p.weight) AS total, max(p.value) AS largest
    FROM telemetry.metric_points AS p FINAL
    WHERE toDate(p.ts) IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
        AND p.metric = 'claude_code.active_time.total' AND p.synthetic = ''
    GROUP BY day, member, session_id, temporality, p.type, p.start_ts
)
GROUP BY day, member, session_id;

-- --- what is made of sessions_daily: events that were sent without a session are none, nor is an id under
-- which nothing was done

CREATE OR REPLACE VIEW telemetry.sessions
AS SELECT
    s.member AS member,
    s.session_id AS session_id,
    min(s.started) AS started,
    max(s.ended) AS ended,
    dateDiff('millisecond', started, ended) / 1000 AS duration_s,
    any(m.active_s) AS active_s,
    argMax(s.team, s.ended) AS team,
    argMax(s.chapter, s.ended) AS chapter,
    argMax(s.git_branch, s.ended) AS git_branch,
    max(s.user_id) AS user_id,
    argMax(s.client_version, s.ended) AS client_version,
    argMax(s.terminal_type, s.ended) AS terminal_type,
    arraySort(groupUniqArrayArray(s.models)) AS models,
    sum(s.events) AS events,
    sum(s.prompts) - least(sum(s.background_reports), sum(s.prompts) - sum(s.commands)) AS prompts_by_people,
    least(sum(s.background_reports), sum(s.prompts) - sum(s.commands)) AS prompts_synthetic,
    sum(s.commands) AS commands,
    sum(s.subagents) AS subagents,
    sum(s.requests) AS requests,
    sum(s.api_errors) AS api_errors,
    sum(s.refusals) AS refusals,
    sum(s.compactions) AS compactions,
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
LEFT ANY JOIN
(
    SELECT member, session_id, toNullable(sum(active_s)) AS active_s
    FROM telemetry.active_daily
    GROUP BY member, session_id
) AS m ON s.member = m.member AND s.session_id = m.session_id
WHERE s.session_id != ''
GROUP BY member, session_id
HAVING sum(s.prompts) + sum(s.requests) + sum(s.api_errors) + sum(s.tool_calls) > 0;

CREATE OR REPLACE VIEW telemetry.users
AS SELECT
    member,
    user_id,
    max(account) AS account,
    min(started) AS first_seen,
    max(ended) AS last_seen,
    uniqExactIf(session_id, session_id != '' AND prompts + requests + api_errors + tool_calls > 0) AS sessions,
    arraySort(groupUniqArray(client_version)) AS client_versions
FROM telemetry.sessions_daily
GROUP BY member, user_id;

CREATE OR REPLACE VIEW telemetry.member_daily
AS SELECT
    day, member, team, chapter,
    uniqExactIf(s.session_id, s.session_id != '' AND s.prompts + s.requests + s.api_errors + s.tool_calls > 0) AS sessions,
    sum(s.prompts) AS prompts,
    sum(s.requests) AS requests,
    sum(s.api_errors) AS api_errors,
    sum(s.tool_calls) AS tool_calls,
    sum(s.tool_failures) AS tool_failures,
    sum(s.approved) AS approved,
    sum(s.rejected) AS rejected,
    sum(s.cost_usd) AS cost_usd,
    sum(s.input_tokens) AS input_tokens,
    sum(s.output_tokens) AS output_tokens,
    sum(s.cache_read_tokens) AS cache_read_tokens,
    sum(s.cache_creation_tokens) AS cache_creation_tokens
FROM telemetry.sessions_daily AS s
GROUP BY day, member, team, chapter;

-- --- daily_metrics: days are read as they were last written down, but for those in which something arrived
-- since. A row of day 0 is written where there is nothing at all, so that the time is known.

CREATE OR REPLACE VIEW telemetry.daily_metrics_now
AS SELECT
    day, team, chapter,
    uniqExact(member) AS members,
    uniqExactIf((s.member, s.session_id), s.session_id != '' AND s.prompts + s.requests + s.api_errors + s.tool_calls > 0) AS sessions,
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

-- A second is too coarse where days are written down twice in a row.
ALTER TABLE telemetry.daily_metrics_kept ADD COLUMN IF NOT EXISTS written_at DateTime64(3) DEFAULT toDateTime64(version, 3);

CREATE OR REPLACE VIEW telemetry.daily_metrics
AS WITH
    (SELECT max(written_at) FROM telemetry.daily_metrics_kept) AS refreshed,
    today() - (SELECT events_days FROM telemetry.retention) AS oldest
SELECT * EXCEPT (version, written_at) FROM telemetry.daily_metrics_kept FINAL
WHERE if(
    day > oldest,
    written_at = refreshed AND day NOT IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed),
    day > toDate(0) AND (day, written_at) IN (SELECT day, max(written_at) FROM telemetry.daily_metrics_kept GROUP BY day))
UNION ALL
SELECT
    day, team, chapter,
    uniqExact(member) AS members,
    uniqExactIf((s.member, s.session_id), s.session_id != '' AND s.prompts + s.requests + s.api_errors + s.tool_calls > 0) AS sessions,
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
FROM telemetry.sessions_daily_now AS s
WHERE day > oldest AND day IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
GROUP BY day, team, chapter;

DROP TABLE IF EXISTS telemetry.daily_metrics_keep;

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.daily_metrics_keep
REFRESH EVERY 10 MINUTE APPEND TO telemetry.daily_metrics_kept
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT n.*, now() AS version, now64(3) AS written_at FROM system.one AS o LEFT JOIN telemetry.daily_metrics_now AS n ON true;
