-- Texts, where the content level keeps any, in a table of their own, which is kept for a shorter time; and the
-- names of attributes that nobody has listed yet, beside the event that came with them.

ALTER TABLE telemetry.telemetry_events
    ADD COLUMN IF NOT EXISTS dropped Array(LowCardinality(String)) COMMENT 'Names of attributes that came with it and were not stored' CODEC(ZSTD(1)) AFTER extra;

ALTER TABLE telemetry.metric_points
    ADD COLUMN IF NOT EXISTS dropped Array(LowCardinality(String)) COMMENT 'Names of attributes that came with it and were not stored' CODEC(ZSTD(1)) AFTER extra;

ALTER TABLE telemetry.telemetry_events_mv MODIFY QUERY
WITH
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
     -- Stored in event_content.
     'tool_parameters', 'error.message', 'prompt', 'response', 'tool_input'] AS texts,
    ['event.sequence', 'input_tokens', 'output_tokens', 'cache_read_tokens',
     'cache_creation_tokens', 'cache_creation_5m_tokens', 'cache_creation_1h_tokens', 'duration_ms', 'ttft_ms',
     'attempt', 'status_code', 'response_length', 'prompt_length', 'tool_input_size_bytes',
     'tool_result_size_bytes'] AS numbers,
    ['member', 'team', 'chapter', 'git.branch', 'service.name', 'service.version', 'os.type', 'os.version',
     'host.arch', 'telemetry.dropped'] AS context_texts
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
FROM telemetry.otel_logs_in;

ALTER TABLE telemetry.metric_points_sum_mv MODIFY QUERY
WITH
    Attributes AS a,
    ResourceAttributes AS r,
    k -> if(a[k] != '', a[k], r[k]) AS context,
    ['session.id', 'user.id', 'team', 'chapter', 'git.branch', 'terminal.type', 'app.entrypoint', 'model', 'query_source',
     'effort', 'type', 'start_type', 'tool_name', 'decision', 'source', 'language', 'skill.name', 'agent.name',
     'telemetry.record_hash', 'telemetry.synthetic', 'telemetry.dropped', 'weight'] AS texts
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
        mapFilter((k, v) -> k NOT IN ('member', 'team', 'chapter', 'git.branch', 'service.name', 'service.version', 'os.type', 'host.arch', 'telemetry.dropped'), r),
        mapFilter((k, v) -> NOT has(texts, k), a)) AS extra,
    arrayFilter(x -> x != '', splitByChar(',', concat(a['telemetry.dropped'], ',', r['telemetry.dropped'], ',', ScopeAttributes['telemetry.dropped']))) AS dropped
FROM telemetry.otel_metrics_sum_in;

ALTER TABLE telemetry.metric_points_gauge_mv MODIFY QUERY
WITH
    Attributes AS a,
    ResourceAttributes AS r,
    k -> if(a[k] != '', a[k], r[k]) AS context,
    ['session.id', 'user.id', 'team', 'chapter', 'git.branch', 'telemetry.record_hash', 'telemetry.synthetic', 'telemetry.dropped', 'weight'] AS texts
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
        mapFilter((k, v) -> k NOT IN ('member', 'team', 'chapter', 'git.branch', 'service.name', 'service.version', 'telemetry.dropped'), r),
        mapFilter((k, v) -> NOT has(texts, k), a)) AS extra,
    arrayFilter(x -> x != '', splitByChar(',', concat(a['telemetry.dropped'], ',', r['telemetry.dropped'], ',', ScopeAttributes['telemetry.dropped']))) AS dropped
FROM telemetry.otel_metrics_gauge_in;

CREATE TABLE IF NOT EXISTS telemetry.event_content
(
    ts DateTime64(3, 'UTC') COMMENT 'Of the event' CODEC(Delta(8), ZSTD(1)),
    event LowCardinality(String) COMMENT 'Name of the event' CODEC(ZSTD(1)),
    kind LowCardinality(String) COMMENT 'Attribute that held the text: prompt, response, tool_parameters, tool_input or error.message' CODEC(ZSTD(1)),
    session_id String CODEC(ZSTD(3)),
    prompt_id String CODEC(ZSTD(3)),
    seq UInt64 COMMENT 'Of the event: with session_id, ts and event it joins telemetry_events' CODEC(DoubleDelta, ZSTD(1)),
    record_hash UInt64 COMMENT 'Of the event' CODEC(ZSTD(1)),
    member LowCardinality(String) CODEC(ZSTD(1)),
    tool_name LowCardinality(String) CODEC(ZSTD(1)),
    tool_use_id String CODEC(ZSTD(1)),
    content String COMMENT 'The text, sanitized, 16 KiB at most' CODEC(ZSTD(3)),
    synthetic LowCardinality(String) COMMENT 'Run id of a self-test; people never see these rows' CODEC(ZSTD(1)),
    stored_at DateTime DEFAULT now() CODEC(Delta(4), ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
PRIMARY KEY (toDate(ts), member, session_id)
ORDER BY (toDate(ts), member, session_id, seq, ts, event, record_hash, kind);

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.event_content_mv TO telemetry.event_content
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
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
FROM telemetry.otel_logs_in;
