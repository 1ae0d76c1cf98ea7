-- One row a metric data point, as sent. Advisory: cost and tokens are counted from telemetry_events.
-- Delta points (the client's default) are summed; of cumulative ones the last of a series counts.

CREATE TABLE IF NOT EXISTS telemetry.metric_points
(
    ts DateTime64(3, 'UTC') COMMENT 'End of the interval' CODEC(Delta(8), ZSTD(1)),
    start_ts DateTime64(3, 'UTC') COMMENT 'Start of the interval' CODEC(Delta(8), ZSTD(1)),
    metric LowCardinality(String) COMMENT 'Name as sent, such as claude_code.token.usage',
    unit LowCardinality(String),
    value Float64 CODEC(ZSTD(1)),
    temporality Enum8('unspecified' = 0, 'delta' = 1, 'cumulative' = 2, 'gauge' = 3),
    is_monotonic Bool,
    record_hash UInt64 COMMENT 'Identity of the point as it arrived' CODEC(ZSTD(1)),
    member LowCardinality(String) COMMENT 'Opaque id of the member, stamped by the collector',
    user_id LowCardinality(String) COMMENT 'Random id of one Claude Code installation',
    session_id String CODEC(ZSTD(1)),
    team LowCardinality(String),
    chapter LowCardinality(String),
    git_branch LowCardinality(String),
    service_name LowCardinality(String),
    client_version LowCardinality(String),
    os_type LowCardinality(String),
    host_arch LowCardinality(String),
    terminal_type LowCardinality(String),
    app_entrypoint LowCardinality(String),
    model LowCardinality(String),
    query_source LowCardinality(String),
    effort LowCardinality(String),
    type LowCardinality(String) COMMENT 'Kind of the value: input, output, added, removed, cli, user, ...',
    start_type LowCardinality(String),
    tool_name LowCardinality(String),
    decision LowCardinality(String),
    decision_source LowCardinality(String),
    language LowCardinality(String),
    skill_name LowCardinality(String),
    agent_name LowCardinality(String),
    weight Float64 DEFAULT 1,
    synthetic LowCardinality(String) COMMENT 'Run id of a self-test; people never see these rows',
    extra Map(LowCardinality(String), String) COMMENT 'Everything else that may be kept, as sent' CODEC(ZSTD(1)),
    stored_at DateTime DEFAULT now() CODEC(Delta(4), ZSTD(1)),
    INDEX idx_session session_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (metric, toDate(ts), member, session_id, ts, record_hash);

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.metric_points_sum_mv TO telemetry.metric_points
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
    Attributes AS a,
    ResourceAttributes AS r,
    k -> if(a[k] != '', a[k], r[k]) AS context,
    ['session.id', 'user.id', 'team', 'chapter', 'git.branch', 'terminal.type', 'app.entrypoint', 'model', 'query_source',
     'effort', 'type', 'start_type', 'tool_name', 'decision', 'source', 'language', 'skill.name', 'agent.name',
     'telemetry.record_hash', 'telemetry.synthetic', 'weight'] AS texts
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
        mapFilter((k, v) -> k NOT IN ('member', 'team', 'chapter', 'git.branch', 'service.name', 'service.version', 'os.type', 'host.arch'), r),
        mapFilter((k, v) -> NOT has(texts, k), a)) AS extra
FROM telemetry.otel_metrics_sum_in;

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.metric_points_gauge_mv TO telemetry.metric_points
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
    Attributes AS a,
    ResourceAttributes AS r,
    k -> if(a[k] != '', a[k], r[k]) AS context,
    ['session.id', 'user.id', 'team', 'chapter', 'git.branch', 'telemetry.record_hash', 'telemetry.synthetic', 'weight'] AS texts
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
        mapFilter((k, v) -> k NOT IN ('member', 'team', 'chapter', 'git.branch', 'service.name', 'service.version'), r),
        mapFilter((k, v) -> NOT has(texts, k), a)) AS extra
FROM telemetry.otel_metrics_gauge_in;
