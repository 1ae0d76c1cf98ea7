-- Sampling and purging. A row says how many sessions its session stands for, and what counts as a session is
-- said once, in sessions_daily. What comes, late or again, of someone who was purged is kept out by the hashes that
-- records bring along; times are compared in milliseconds, because there is no year 2299 in nanoseconds.

ALTER TABLE telemetry.telemetry_events
    ADD COLUMN IF NOT EXISTS session_weight Float64 DEFAULT 1 COMMENT 'How many sessions this event''s session stands for; 0: of that session only requests and errors are here' AFTER weight;

CREATE TABLE IF NOT EXISTS telemetry.suppressions
(
    hash String COMMENT 'Keyed hash of a member or a session that was purged',
    until DateTime64(3, 'UTC') COMMENT 'What happened until then is kept out',
    at DateTime DEFAULT now() COMMENT 'When it was purged'
)
ENGINE = ReplacingMergeTree(until)
ORDER BY hash;

CREATE TABLE IF NOT EXISTS telemetry.kept_out
(
    day Date COMMENT 'When they came',
    records UInt64 COMMENT 'Events and metric points that were not stored, because they are of someone who was purged'
)
ENGINE = SummingMergeTree
ORDER BY day;

ALTER TABLE telemetry.telemetry_events_mv MODIFY QUERY
WITH
    (SELECT groupArray((hash, until)) FROM telemetry.suppressions) AS purged,
    LogAttributes AS a,
    ResourceAttributes AS r,
    x -> coalesce(toUInt64OrNull(x), accurateCastOrNull(round(toFloat64OrNull(x)), 'UInt64')) AS number,
    k -> if(a[k] != '', a[k], r[k]) AS context,
    -- Attributes that a typed column holds whole.
    ['session.id', 'user.id', 'prompt.id', 'event.name', 'team', 'chapter', 'git.branch', 'terminal.type',
     'app.entrypoint', 'model', 'request_id', 'query_source', 'speed', 'effort', 'error', 'error_type',
     'command_name', 'tool_name', 'tool_use_id', 'use_id', 'tool_source', 'decision', 'decision_type', 'source',
     'decision_source', 'permission_mode', 'skill.name', 'agent.name', 'agent_type', 'anthropic.provider',
     'anthropic.custom_base_url', 'telemetry.record_hash', 'telemetry.synthetic', 'telemetry.dropped',
     'telemetry.session_weight', 'telemetry.purge_hash',
     -- Stored in event_content.
     'tool_parameters', 'error.message', 'prompt', 'response', 'tool_input'] AS texts,
    ['event.sequence', 'input_tokens', 'output_tokens', 'cache_read_tokens',
     'cache_creation_tokens', 'cache_creation_5m_tokens', 'cache_creation_1h_tokens', 'duration_ms', 'ttft_ms',
     'attempt', 'status_code', 'response_length', 'prompt_length', 'tool_input_size_bytes',
     'tool_result_size_bytes'] AS numbers,
    ['member', 'team', 'chapter', 'git.branch', 'service.name', 'service.version', 'os.type', 'os.version',
     'host.arch', 'telemetry.dropped', 'telemetry.purge_hash'] AS context_texts
SELECT
    toDateTime64(Timestamp, 3, 'UTC') AS ts,
    a['event.name'] AS event,
    multiIf(
        event = 'user_prompt', 'user_prompt',
        event = 'tool_result', 'tool_call',
        event = 'api_request', 'api_request',
        event = 'api_error', 'api_error',
        event = 'tool_decision' AND startsWith(a['source'], 'user_'), 'validation_result',
        'other') AS event_type,
    a['session.id'] AS session_id,
    a['prompt.id'] AS prompt_id,
    coalesce(number(a['event.sequence']), 0) AS seq,
    reinterpretAsUInt64(reverse(unhex(a['telemetry.record_hash']))) AS record_hash,
    r['member'] AS member,
    a['user.id'] AS user_id,
    context('team') AS team,
    context('chapter') AS chapter,
    context('git.branch') AS git_branch,
    r['service.name'] AS service_name,
    r['service.version'] AS client_version,
    r['os.type'] AS os_type,
    r['os.version'] AS os_version,
    r['host.arch'] AS host_arch,
    a['terminal.type'] AS terminal_type,
    a['app.entrypoint'] AS app_entrypoint,
    a['anthropic.provider'] AS api_provider,
    a['anthropic.custom_base_url'] AS api_custom_url,
    a['model'] AS model,
    a['query_source'] AS query_source,
    a['speed'] AS speed,
    a['effort'] AS effort,
    coalesce(
        accurateCastOrNull(toDecimal128OrNull(a['cost_usd_micros'], 9) / 1000000, 'Decimal(18, 9)'),
        -- Older clients print a binary fraction, such as 0.020624999999999998: rounded, not cut.
        accurateCastOrNull(round(toDecimal128OrNull(a['cost_usd'], 24), 9), 'Decimal(18, 9)')) AS cost_usd,
    number(a['input_tokens']) AS input_tokens,
    number(a['output_tokens']) AS output_tokens,
    number(a['cache_read_tokens']) AS cache_read_tokens,
    number(a['cache_creation_tokens']) AS cache_creation_tokens,
    number(a['cache_creation_5m_tokens']) AS cache_creation_5m_tokens,
    number(a['cache_creation_1h_tokens']) AS cache_creation_1h_tokens,
    number(a['duration_ms']) AS duration_ms,
    number(a['ttft_ms']) AS ttft_ms,
    a['request_id'] AS request_id,
    accurateCastOrNull(number(a['attempt']), 'UInt32') AS attempt,
    accurateCastOrNull(number(a['status_code']), 'UInt32') AS status_code,
    a['error'] AS error,
    multiIf(
        a['error_type'] != '', a['error_type'],
        event NOT IN ('api_error', 'api_retries_exhausted'), '',
        status_code = 429, 'rate_limit',
        status_code = 529, 'overloaded',
        status_code IN (401, 403), 'auth',
        status_code BETWEEN 400 AND 499, 'invalid_request',
        status_code >= 500, 'server_error',
        'connection') AS error_type,
    number(a['prompt_length']) AS prompt_length,
    number(a['response_length']) AS response_length,
    a['command_name'] AS command_name,
    a['tool_name'] AS tool_name,
    if(a['tool_use_id'] != '', a['tool_use_id'], a['use_id']) AS tool_use_id,
    a['tool_source'] AS tool_source,
    number(a['tool_input_size_bytes']) AS tool_input_size_bytes,
    number(a['tool_result_size_bytes']) AS tool_result_size_bytes,
    multiIf(a['success'] = 'true', true, a['success'] = 'false', false, NULL) AS success,
    if(a['decision'] != '', a['decision'], a['decision_type']) AS decision,
    if(a['source'] != '', a['source'], a['decision_source']) AS decision_source,
    a['permission_mode'] AS permission_mode,
    a['skill.name'] AS skill_name,
    if(a['agent.name'] != '', a['agent.name'], a['agent_type']) AS agent_name,
    if(toFloat64OrZero(a['weight']) > 0, toFloat64OrZero(a['weight']), 1) AS weight,
    if(a['telemetry.session_weight'] = '', 1, toFloat64OrZero(a['telemetry.session_weight'])) AS session_weight,
    a['telemetry.synthetic'] AS synthetic,
    mapConcat(
        mapFilter((k, v) -> NOT has(context_texts, k), r),
        -- A value that its column could not take stays here, so nothing is lost.
        mapFilter((k, v) -> NOT has(texts, k)
            AND NOT (has(numbers, k) AND number(v) IS NOT NULL)
            AND NOT (k IN ('cost_usd', 'cost_usd_micros') AND cost_usd IS NOT NULL)
            AND NOT (k = 'success' AND v IN ('true', 'false'))
            AND NOT (k = 'app.version' AND v = r['service.version'])
            AND NOT (k = 'weight' AND toFloat64OrZero(v) > 0), a)) AS extra,
    arrayFilter(x -> x != '', splitByChar(',', concat(a['telemetry.dropped'], ',', r['telemetry.dropped'], ',', ScopeAttributes['telemetry.dropped']))) AS dropped
FROM telemetry.otel_logs_in
WHERE NOT arrayExists(x -> x.2 >= toDateTime64(Timestamp, 3, 'UTC') AND (x.1 = ResourceAttributes['telemetry.purge_hash'] OR x.1 = LogAttributes['telemetry.purge_hash']), purged);

ALTER TABLE telemetry.metric_points_sum_mv MODIFY QUERY
WITH
    (SELECT groupArray((hash, until)) FROM telemetry.suppressions) AS purged,
    Attributes AS a,
    ResourceAttributes AS r,
    k -> if(a[k] != '', a[k], r[k]) AS context,
    ['session.id', 'user.id', 'team', 'chapter', 'git.branch', 'terminal.type', 'app.entrypoint', 'model', 'query_source',
     'effort', 'type', 'start_type', 'tool_name', 'decision', 'source', 'language', 'skill.name', 'agent.name',
     'telemetry.record_hash', 'telemetry.synthetic', 'telemetry.dropped', 'telemetry.purge_hash', 'weight'] AS texts
SELECT
    toDateTime64(TimeUnix, 3, 'UTC') AS ts,
    toDateTime64(StartTimeUnix, 3, 'UTC') AS start_ts,
    MetricName AS metric,
    MetricUnit AS unit,
    Value AS value,
    multiIf(AggregationTemporality = 1, 'delta', AggregationTemporality = 2, 'cumulative', 'unspecified') AS temporality,
    IsMonotonic AS is_monotonic,
    reinterpretAsUInt64(reverse(unhex(a['telemetry.record_hash']))) AS record_hash,
    r['member'] AS member,
    a['user.id'] AS user_id,
    a['session.id'] AS session_id,
    context('team') AS team,
    context('chapter') AS chapter,
    context('git.branch') AS git_branch,
    r['service.name'] AS service_name,
    r['service.version'] AS client_version,
    r['os.type'] AS os_type,
    r['host.arch'] AS host_arch,
    a['terminal.type'] AS terminal_type,
    a['app.entrypoint'] AS app_entrypoint,
    a['model'] AS model,
    a['query_source'] AS query_source,
    a['effort'] AS effort,
    a['type'] AS type,
    a['start_type'] AS start_type,
    a['tool_name'] AS tool_name,
    a['decision'] AS decision,
    a['source'] AS decision_source,
    a['language'] AS language,
    a['skill.name'] AS skill_name,
    a['agent.name'] AS agent_name,
    if(toFloat64OrZero(a['weight']) > 0, toFloat64OrZero(a['weight']), 1) AS weight,
    a['telemetry.synthetic'] AS synthetic,
    mapConcat(
        mapFilter((k, v) -> k NOT IN ('member', 'team', 'chapter', 'git.branch', 'service.name', 'service.version', 'os.type', 'host.arch', 'telemetry.dropped', 'telemetry.purge_hash'), r),
        mapFilter((k, v) -> NOT has(texts, k), a)) AS extra,
    arrayFilter(x -> x != '', splitByChar(',', concat(a['telemetry.dropped'], ',', r['telemetry.dropped'], ',', ScopeAttributes['telemetry.dropped']))) AS dropped
FROM telemetry.otel_metrics_sum_in
WHERE NOT arrayExists(x -> x.2 >= toDateTime64(TimeUnix, 3, 'UTC') AND (x.1 = ResourceAttributes['telemetry.purge_hash'] OR x.1 = Attributes['telemetry.purge_hash']), purged);

ALTER TABLE telemetry.metric_points_gauge_mv MODIFY QUERY
WITH
    (SELECT groupArray((hash, until)) FROM telemetry.suppressions) AS purged,
    Attributes AS a,
    ResourceAttributes AS r,
    k -> if(a[k] != '', a[k], r[k]) AS context,
    ['session.id', 'user.id', 'team', 'chapter', 'git.branch', 'telemetry.record_hash', 'telemetry.synthetic', 'telemetry.dropped', 'telemetry.purge_hash', 'weight'] AS texts
SELECT
    toDateTime64(TimeUnix, 3, 'UTC') AS ts,
    toDateTime64(StartTimeUnix, 3, 'UTC') AS start_ts,
    MetricName AS metric,
    MetricUnit AS unit,
    Value AS value,
    'gauge' AS temporality,
    false AS is_monotonic,
    reinterpretAsUInt64(reverse(unhex(a['telemetry.record_hash']))) AS record_hash,
    r['member'] AS member,
    a['user.id'] AS user_id,
    a['session.id'] AS session_id,
    context('team') AS team,
    context('chapter') AS chapter,
    context('git.branch') AS git_branch,
    r['service.name'] AS service_name,
    r['service.version'] AS client_version,
    if(toFloat64OrZero(a['weight']) > 0, toFloat64OrZero(a['weight']), 1) AS weight,
    a['telemetry.synthetic'] AS synthetic,
    mapConcat(
        mapFilter((k, v) -> k NOT IN ('member', 'team', 'chapter', 'git.branch', 'service.name', 'service.version', 'telemetry.dropped', 'telemetry.purge_hash'), r),
        mapFilter((k, v) -> NOT has(texts, k), a)) AS extra,
    arrayFilter(x -> x != '', splitByChar(',', concat(a['telemetry.dropped'], ',', r['telemetry.dropped'], ',', ScopeAttributes['telemetry.dropped']))) AS dropped
FROM telemetry.otel_metrics_gauge_in
WHERE NOT arrayExists(x -> x.2 >= toDateTime64(TimeUnix, 3, 'UTC') AND (x.1 = ResourceAttributes['telemetry.purge_hash'] OR x.1 = Attributes['telemetry.purge_hash']), purged);

ALTER TABLE telemetry.event_content_mv MODIFY QUERY
WITH
    (SELECT groupArray((hash, until)) FROM telemetry.suppressions) AS purged,
    LogAttributes AS a
SELECT
    toDateTime64(Timestamp, 3, 'UTC') AS ts,
    a['event.name'] AS event,
    arrayJoin(arrayFilter(k -> a[k] != '', ['tool_parameters', 'error.message', 'prompt', 'response', 'tool_input'])) AS kind,
    a['session.id'] AS session_id,
    a['prompt.id'] AS prompt_id,
    coalesce(toUInt64OrNull(a['event.sequence']), 0) AS seq,
    reinterpretAsUInt64(reverse(unhex(a['telemetry.record_hash']))) AS record_hash,
    ResourceAttributes['member'] AS member,
    a['tool_name'] AS tool_name,
    if(a['tool_use_id'] != '', a['tool_use_id'], a['use_id']) AS tool_use_id,
    a[kind] AS content,
    a['telemetry.synthetic'] AS synthetic
FROM telemetry.otel_logs_in
WHERE NOT arrayExists(x -> x.2 >= toDateTime64(Timestamp, 3, 'UTC') AND (x.1 = ResourceAttributes['telemetry.purge_hash'] OR x.1 = LogAttributes['telemetry.purge_hash']), purged);

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.kept_out_logs_mv TO telemetry.kept_out
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
    (SELECT groupArray((hash, until)) FROM telemetry.suppressions) AS purged
SELECT today() AS day, count() AS records
FROM telemetry.otel_logs_in
WHERE arrayExists(x -> x.2 >= toDateTime64(Timestamp, 3, 'UTC') AND (x.1 = ResourceAttributes['telemetry.purge_hash'] OR x.1 = LogAttributes['telemetry.purge_hash']), purged)
HAVING records > 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.kept_out_sum_mv TO telemetry.kept_out
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
    (SELECT groupArray((hash, until)) FROM telemetry.suppressions) AS purged
SELECT today() AS day, count() AS records
FROM telemetry.otel_metrics_sum_in
WHERE arrayExists(x -> x.2 >= toDateTime64(TimeUnix, 3, 'UTC') AND (x.1 = ResourceAttributes['telemetry.purge_hash'] OR x.1 = Attributes['telemetry.purge_hash']), purged)
HAVING records > 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.kept_out_gauge_mv TO telemetry.kept_out
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
    (SELECT groupArray((hash, until)) FROM telemetry.suppressions) AS purged
SELECT today() AS day, count() AS records
FROM telemetry.otel_metrics_gauge_in
WHERE arrayExists(x -> x.2 >= toDateTime64(TimeUnix, 3, 'UTC') AND (x.1 = ResourceAttributes['telemetry.purge_hash'] OR x.1 = Attributes['telemetry.purge_hash']), purged)
HAVING records > 0;

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
    sumIf(e.cache_creation_tokens * e.weight, e.event = 'api_request') AS cache_creation_tokens,
    count() AS stored_events,
    max(e.session_weight) AS session_weight,
    -- Of a session with a request or an error something is always there, others are there if they were sampled.
    multiIf(session_id = '' OR prompts + requests + api_errors + tool_calls = 0, 0,
        requests + api_errors > 0, 1, session_weight) AS counts_as
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
    sumIf(e.cache_creation_tokens * e.weight, e.event = 'api_request') AS cache_creation_tokens,
    count() AS stored_events,
    max(e.session_weight) AS session_weight,
    -- Of a session with a request or an error something is always there, others are there if they were sampled.
    multiIf(session_id = '' OR prompts + requests + api_errors + tool_calls = 0, 0,
        requests + api_errors > 0, 1, session_weight) AS counts_as
FROM telemetry.telemetry_events AS e FINAL
LEFT ANY JOIN telemetry.session_labels AS l FINAL ON e.member = l.member AND e.session_id = l.session_id
WHERE toDate(e.ts) IN (SELECT day FROM telemetry.touched_days WHERE at + 120 >= refreshed)
    AND e.synthetic = ''
GROUP BY day, member, session_id, team, chapter, git_branch;

-- --- what people ask. sessions: what happened in each, so without weights; of one that was not sampled, requests
-- and errors are known, and the rest is not.

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
    if(session_weight > 0, toNullable(sum(s.stored_events)), NULL) AS events,
    (sum(s.prompts) - least(sum(s.background_reports), sum(s.prompts) - sum(s.commands))) / nullIf(session_weight, 0) AS prompts_by_people,
    least(sum(s.background_reports), sum(s.prompts) - sum(s.commands)) / nullIf(session_weight, 0) AS prompts_synthetic,
    sum(s.commands) / nullIf(session_weight, 0) AS commands,
    sum(s.subagents) / nullIf(session_weight, 0) AS subagents,
    sum(s.requests) AS requests,
    sum(s.api_errors) AS api_errors,
    sum(s.refusals) AS refusals,
    sum(s.compactions) / nullIf(session_weight, 0) AS compactions,
    (sum(s.tool_calls) - tool_failures) / nullIf(session_weight, 0) + tool_failures AS tool_calls,
    sum(s.tool_failures) AS tool_failures,
    sum(s.edits) / nullIf(session_weight, 0) AS edits,
    sum(s.approved) / nullIf(session_weight, 0) AS approved,
    sum(s.rejected) / nullIf(session_weight, 0) AS rejected,
    sum(s.cost_usd) AS cost_usd,
    sum(s.input_tokens) AS input_tokens,
    sum(s.output_tokens) AS output_tokens,
    sum(s.cache_read_tokens) AS cache_read_tokens,
    sum(s.cache_creation_tokens) AS cache_creation_tokens,
    max(s.session_weight) AS session_weight
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
    toUInt64(round(arraySum(mapValues(minMapIf(map(cityHash64(member, session_id), counts_as), counts_as > 0))))) AS sessions,
    arraySort(groupUniqArray(client_version)) AS client_versions
FROM telemetry.sessions_daily
GROUP BY member, user_id;

CREATE OR REPLACE VIEW telemetry.member_daily
AS SELECT
    day, member, team, chapter,
    toUInt64(round(arraySum(mapValues(minMapIf(map(cityHash64(s.member, s.session_id), s.counts_as), s.counts_as > 0))))) AS sessions,
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

CREATE OR REPLACE VIEW telemetry.daily_metrics_now
AS SELECT
    day, team, chapter,
    uniqExact(member) AS members,
    toUInt64(round(arraySum(mapValues(minMapIf(map(cityHash64(s.member, s.session_id), s.counts_as), s.counts_as > 0))))) AS sessions,
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
    toUInt64(round(arraySum(mapValues(minMapIf(map(cityHash64(s.member, s.session_id), s.counts_as), s.counts_as > 0))))) AS sessions,
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
