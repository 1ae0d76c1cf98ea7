-- telemetry_events once more, sorted by day, member and session instead of by event.
--
-- Ids are most of what an event takes on disk, and the events of one API request and of one tool share
-- theirs: side by side they are stored once, and not two to four times. Days that were written at
-- different times no longer overlap, so reading each event once (FINAL) has little to merge. And what is
-- the same in every event of a client becomes a column of its own.
--
-- Each statement can be repeated from the start, whatever was interrupted, while events go on arriving:
-- the copy is fed by all that comes in before anything is moved, and ids make two copies one event.

ALTER TABLE telemetry.telemetry_events
    ADD COLUMN IF NOT EXISTS os_version LowCardinality(String) AFTER os_type,
    ADD COLUMN IF NOT EXISTS api_provider LowCardinality(String) COMMENT 'Kind of API endpoint' AFTER app_entrypoint,
    ADD COLUMN IF NOT EXISTS api_custom_url LowCardinality(String) COMMENT 'true: the endpoint is a custom one' AFTER api_provider,
    ADD COLUMN IF NOT EXISTS tool_source LowCardinality(String) COMMENT 'builtin or mcp' AFTER tool_use_id;

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
     'anthropic.custom_base_url', 'telemetry.record_hash', 'telemetry.synthetic'] AS texts,
    ['event.sequence', 'input_tokens', 'output_tokens', 'cache_read_tokens',
     'cache_creation_tokens', 'cache_creation_5m_tokens', 'cache_creation_1h_tokens', 'duration_ms', 'ttft_ms',
     'attempt', 'status_code', 'response_length', 'prompt_length', 'tool_input_size_bytes',
     'tool_result_size_bytes'] AS numbers,
    ['member', 'team', 'chapter', 'git.branch', 'service.name', 'service.version', 'os.type', 'os.version',
     'host.arch'] AS context_texts
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
            AND NOT (k = 'weight' AND toFloat64OrZero(v) > 0), a)) AS extra
FROM telemetry.otel_logs_in;

CREATE TABLE IF NOT EXISTS telemetry.telemetry_events_0004
(
    ts DateTime64(3, 'UTC') COMMENT 'When it happened, by the client''s clock' CODEC(Delta(8), ZSTD(1)),
    event LowCardinality(String) COMMENT 'The client''s own name for it, without the prefix claude_code.' CODEC(ZSTD(1)),
    event_type LowCardinality(String) COMMENT 'user_prompt, tool_call, api_request, api_error, validation_result or other' CODEC(ZSTD(1)),
    session_id String COMMENT 'Session; the same after a resume' CODEC(ZSTD(3)),
    prompt_id String COMMENT 'Joins everything one prompt set off' CODEC(ZSTD(3)),
    seq UInt64 COMMENT 'Order within one client process; 0 where none was sent (record_hash is not 0 then)' CODEC(DoubleDelta, ZSTD(1)),
    record_hash UInt64 COMMENT 'Identity of a record without session or sequence; else 0' CODEC(ZSTD(1)),
    member LowCardinality(String) COMMENT 'Opaque id of the member, stamped by the collector' CODEC(ZSTD(1)),
    user_id LowCardinality(String) COMMENT 'Random id of one Claude Code installation' CODEC(ZSTD(1)),
    team LowCardinality(String) CODEC(ZSTD(1)),
    chapter LowCardinality(String) COMMENT 'As sent; the views apply what `telemetry label` said' CODEC(ZSTD(1)),
    git_branch LowCardinality(String) CODEC(ZSTD(1)),
    service_name LowCardinality(String) COMMENT 'claude-code or claude-code-desktop' CODEC(ZSTD(1)),
    client_version LowCardinality(String) CODEC(ZSTD(1)),
    os_type LowCardinality(String) CODEC(ZSTD(1)),
    os_version LowCardinality(String) CODEC(ZSTD(1)),
    host_arch LowCardinality(String) CODEC(ZSTD(1)),
    terminal_type LowCardinality(String) CODEC(ZSTD(1)),
    app_entrypoint LowCardinality(String) CODEC(ZSTD(1)),
    api_provider LowCardinality(String) COMMENT 'Kind of API endpoint' CODEC(ZSTD(1)),
    api_custom_url LowCardinality(String) COMMENT 'true: the endpoint is a custom one' CODEC(ZSTD(1)),
    model LowCardinality(String) CODEC(ZSTD(1)),
    query_source LowCardinality(String) CODEC(ZSTD(1)),
    speed LowCardinality(String) CODEC(ZSTD(1)),
    effort LowCardinality(String) CODEC(ZSTD(1)),
    cost_usd Nullable(Decimal(18, 9)) COMMENT 'USD by list price; from cost_usd_micros where sent' CODEC(GCD, ZSTD(1)),
    input_tokens Nullable(UInt64) CODEC(ZSTD(1)),
    output_tokens Nullable(UInt64) CODEC(ZSTD(1)),
    cache_read_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    cache_creation_tokens Nullable(UInt64) CODEC(ZSTD(1)),
    cache_creation_5m_tokens Nullable(UInt64) CODEC(ZSTD(1)),
    cache_creation_1h_tokens Nullable(UInt64) CODEC(ZSTD(1)),
    duration_ms Nullable(UInt64) CODEC(T64, ZSTD(1)),
    ttft_ms Nullable(UInt64) COMMENT 'Time to the first token' CODEC(ZSTD(1)),
    request_id String CODEC(ZSTD(1)),
    attempt Nullable(UInt32) CODEC(ZSTD(1)),
    status_code Nullable(UInt32) CODEC(ZSTD(1)),
    error String COMMENT 'Fingerprint of the error text' CODEC(ZSTD(3)),
    error_type LowCardinality(String) COMMENT 'As the client names it; for API errors derived from the status' CODEC(ZSTD(1)),
    prompt_length Nullable(UInt64) COMMENT 'Characters' CODEC(ZSTD(1)),
    response_length Nullable(UInt64) COMMENT 'Characters' CODEC(ZSTD(1)),
    command_name LowCardinality(String) CODEC(ZSTD(1)),
    tool_name LowCardinality(String) CODEC(ZSTD(1)),
    tool_use_id String COMMENT 'Joins a decision to its result' CODEC(ZSTD(1)),
    tool_source LowCardinality(String) COMMENT 'builtin or mcp' CODEC(ZSTD(1)),
    tool_input_size_bytes Nullable(UInt64) CODEC(ZSTD(1)),
    tool_result_size_bytes Nullable(UInt64) CODEC(ZSTD(1)),
    success Nullable(Bool) CODEC(ZSTD(1)),
    decision LowCardinality(String) COMMENT 'accept or reject' CODEC(ZSTD(1)),
    decision_source LowCardinality(String) COMMENT 'config, hook, or user_* where a person decided' CODEC(ZSTD(1)),
    permission_mode LowCardinality(String) CODEC(ZSTD(1)),
    skill_name LowCardinality(String) CODEC(ZSTD(1)),
    agent_name LowCardinality(String) CODEC(ZSTD(1)),
    weight Float64 DEFAULT 1 COMMENT 'How many events this row stands for; multiply every sum by it' CODEC(ZSTD(1)),
    synthetic LowCardinality(String) COMMENT 'Run id of a self-test; people never see these rows' CODEC(ZSTD(1)),
    extra Map(LowCardinality(String), String) COMMENT 'Everything else that may be kept, as sent' CODEC(ZSTD(3)),
    stored_at DateTime DEFAULT now() COMMENT 'When the row was written' CODEC(Delta(4), ZSTD(1)),
    INDEX idx_session session_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_request request_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
PRIMARY KEY (toDate(ts), member, session_id)
ORDER BY (toDate(ts), member, session_id, seq, ts, event, record_hash);

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.telemetry_events_0004_mv TO telemetry.telemetry_events_0004
AS SELECT * FROM telemetry.telemetry_events;

INSERT INTO telemetry.telemetry_events_0004 SELECT * FROM telemetry.telemetry_events;

CREATE OR REPLACE TABLE telemetry.telemetry_events AS telemetry.telemetry_events_0004;

INSERT INTO telemetry.telemetry_events SELECT * REPLACE (
    if(os_version = '', extra['os.version'], os_version) AS os_version,
    if(api_provider = '', extra['anthropic.provider'], api_provider) AS api_provider,
    if(api_custom_url = '', extra['anthropic.custom_base_url'], api_custom_url) AS api_custom_url,
    if(tool_source = '', extra['tool_source'], tool_source) AS tool_source,
    mapFilter((k, v) -> k NOT IN ('os.version', 'anthropic.provider', 'anthropic.custom_base_url', 'tool_source')
        AND NOT (k = 'app.version' AND v = client_version), extra) AS extra)
FROM telemetry.telemetry_events_0004;

DROP VIEW IF EXISTS telemetry.telemetry_events_0004_mv;

DROP TABLE IF EXISTS telemetry.telemetry_events_0004;
