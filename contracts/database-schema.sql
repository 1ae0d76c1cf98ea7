-- The database as it stands after a first `telemetry up`: every table and view, what others build
-- on first. Written by `make contracts` from a real database; a test compares. To change the
-- schema, add a file to infra/warehouse/ddl/ and write this one anew.
--
-- As ClickHouse shows it, but for what differs from one team to the next: retention is the default,
-- of the price list (infra/warehouse/prices.yaml) the first line stands for all, and the checksums
-- of both are left out.

CREATE DATABASE telemetry;

CREATE DATABASE telemetry_team;

CREATE TABLE telemetry.access_log
(
    `ts` DateTime64(3, 'UTC') COMMENT 'When it ended',
    `user` LowCardinality(String) COMMENT 'Login: the id of a person; (unknown): none of ours; purged-...: who was purged',
    `address` String COMMENT 'Where it came from, as the edge saw it',
    `interface` LowCardinality(String) COMMENT 'HTTP, TCP, ...; empty where the log does not tell',
    `action` LowCardinality(String) COMMENT 'query; login: a failed one; request: refused before it was a query, such as for a setting',
    `kind` LowCardinality(String) COMMENT 'Of a query: Select, Insert, Set, ...',
    `tables` Array(LowCardinality(String)) COMMENT 'That were read or written; empty where it was refused before',
    `query` String COMMENT 'Without literals, 4,000 characters at most',
    `query_hash` UInt64 COMMENT 'Same for queries that differ in literals only',
    `read_rows` UInt64,
    `read_bytes` UInt64,
    `result_rows` UInt64 COMMENT 'Rows returned',
    `result_bytes` UInt64,
    `duration_ms` UInt64,
    `result` LowCardinality(String) COMMENT 'ok, denied or failed',
    `error_code` Int32 COMMENT '0: none, or not known',
    `error` LowCardinality(String) COMMENT 'Name of the error',
    `id` UInt64 COMMENT 'Tells one from another of the same time'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (ts, id)
TTL toDateTime(ts) + toIntervalDay(400)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.active_daily_store
(
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `active_s` Float64,
    `refreshed_at` DateTime
)
ENGINE = MergeTree
ORDER BY (day, member, session_id)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.activity_hourly_store
(
    `day` Date,
    `hour` DateTime('UTC'),
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `events` Float64,
    `prompts` Float64,
    `requests` Float64,
    `tool_calls` Float64,
    `failures` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `refreshed_at` DateTime
)
ENGINE = MergeTree
ORDER BY (day, member, hour)
SETTINGS index_granularity = 8192;

CREATE VIEW telemetry.budget
(
    `monthly_usd` Decimal(18, 2)
)
AS SELECT toDecimal64('0', 2) AS monthly_usd;

CREATE VIEW telemetry.cohort_floor
(
    `members` UInt64
)
AS SELECT toUInt64(1) AS members;

CREATE TABLE telemetry.daily_metrics_kept
(
    `day` Date,
    `team` LowCardinality(String),
    `chapter` String,
    `members` UInt64,
    `sessions` UInt64,
    `prompts` Float64,
    `requests` Float64,
    `api_errors` Float64,
    `tool_calls` Float64,
    `tool_failures` Float64,
    `edits` Float64,
    `approved` Float64,
    `rejected` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `version` DateTime,
    `written_at` DateTime64(3) DEFAULT toDateTime64(version, 3)
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (day, team, chapter)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.deletions
(
    `at` DateTime64(3, 'UTC') DEFAULT now64(3),
    `why` LowCardinality(String) COMMENT 'retention, purge or limit',
    `class` LowCardinality(String) COMMENT 'As in retention_reports',
    `rows` UInt64,
    `first_day` Date COMMENT 'Of what was deleted',
    `last_day` Date
)
ENGINE = ReplacingMergeTree
ORDER BY (at, why, class, first_day, last_day)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.durations_daily_store
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `event` LowCardinality(String),
    `model` LowCardinality(String),
    `tool_name` LowCardinality(String),
    `about_ms` Nullable(UInt64),
    `events` Float64,
    `duration_ms` Nullable(Float64),
    `refreshed_at` DateTime
)
ENGINE = MergeTree
ORDER BY (day, event, member)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.edge_log
(
    `ts` DateTime64(3, 'UTC') COMMENT 'When it was answered',
    `address` String COMMENT 'Where it came from',
    `method` LowCardinality(String),
    `path` String COMMENT 'Without what follows a question mark, 200 characters at most',
    `status` UInt16,
    `duration_ms` UInt64,
    `bytes` UInt64 COMMENT 'Of the answer',
    `user` LowCardinality(String) COMMENT 'Who they say they are: a login of ours, (unknown) or empty',
    `id` UInt64 COMMENT 'Tells one from another of the same time'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (ts, id)
TTL toDateTime(ts) + toIntervalDay(400)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.errors_daily_store
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `event` LowCardinality(String),
    `model` LowCardinality(String),
    `tool_name` LowCardinality(String),
    `error_type` LowCardinality(String),
    `status_code` Nullable(UInt32),
    `error` String,
    `errors` Float64,
    `last_ts` DateTime64(3, 'UTC'),
    `refreshed_at` DateTime
)
ENGINE = MergeTree
ORDER BY (day, member, chapter, event)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.event_content
(
    `ts` DateTime64(3, 'UTC') COMMENT 'Of the event' CODEC(Delta(8), ZSTD(1)),
    `event` LowCardinality(String) COMMENT 'Name of the event' CODEC(ZSTD(1)),
    `kind` LowCardinality(String) COMMENT 'Attribute that held the text: prompt, response, tool_parameters, tool_input or error.message' CODEC(ZSTD(1)),
    `session_id` String CODEC(ZSTD(3)),
    `prompt_id` String CODEC(ZSTD(3)),
    `seq` UInt64 COMMENT 'Of the event: with session_id, ts and event it joins telemetry_events' CODEC(DoubleDelta, ZSTD(1)),
    `record_hash` UInt64 COMMENT 'Of the event' CODEC(ZSTD(1)),
    `member` LowCardinality(String) CODEC(ZSTD(1)),
    `tool_name` LowCardinality(String) CODEC(ZSTD(1)),
    `tool_use_id` String CODEC(ZSTD(1)),
    `content` String COMMENT 'The text, sanitized, 16 KiB at most' CODEC(ZSTD(3)),
    `synthetic` LowCardinality(String) COMMENT 'Run id of a self-test; people never see these rows' CODEC(ZSTD(1)),
    `stored_at` DateTime DEFAULT now() CODEC(Delta(4), ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
PRIMARY KEY (toDate(ts), member, session_id)
ORDER BY (toDate(ts), member, session_id, seq, ts, event, record_hash, kind)
TTL toDateTime(ts) + toIntervalDay(14)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.kept_out
(
    `day` Date COMMENT 'When they came',
    `records` UInt64 COMMENT 'Events and metric points that were not stored, because they are of someone who was purged'
)
ENGINE = SummingMergeTree
ORDER BY day
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.metric_points
(
    `ts` DateTime64(3, 'UTC') COMMENT 'End of the interval' CODEC(Delta(8), ZSTD(1)),
    `start_ts` DateTime64(3, 'UTC') COMMENT 'Start of the interval' CODEC(Delta(8), ZSTD(1)),
    `metric` LowCardinality(String) COMMENT 'Name as sent, such as claude_code.token.usage',
    `unit` LowCardinality(String),
    `value` Float64 CODEC(ZSTD(1)),
    `temporality` Enum8('unspecified' = 0, 'delta' = 1, 'cumulative' = 2, 'gauge' = 3),
    `is_monotonic` Bool,
    `record_hash` UInt64 COMMENT 'Identity of the point as it arrived' CODEC(ZSTD(1)),
    `member` LowCardinality(String) COMMENT 'Opaque id of the member, stamped by the collector',
    `user_id` LowCardinality(String) COMMENT 'Random id of one Claude Code installation',
    `session_id` String CODEC(ZSTD(1)),
    `team` LowCardinality(String),
    `chapter` LowCardinality(String),
    `git_branch` LowCardinality(String),
    `service_name` LowCardinality(String),
    `client_version` LowCardinality(String),
    `os_type` LowCardinality(String),
    `host_arch` LowCardinality(String),
    `terminal_type` LowCardinality(String),
    `app_entrypoint` LowCardinality(String),
    `model` LowCardinality(String),
    `query_source` LowCardinality(String),
    `effort` LowCardinality(String),
    `type` LowCardinality(String) COMMENT 'Kind of the value: input, output, added, removed, cli, user, ...',
    `start_type` LowCardinality(String),
    `tool_name` LowCardinality(String),
    `decision` LowCardinality(String),
    `decision_source` LowCardinality(String),
    `language` LowCardinality(String),
    `skill_name` LowCardinality(String),
    `agent_name` LowCardinality(String),
    `weight` Float64 DEFAULT 1,
    `synthetic` LowCardinality(String) COMMENT 'Run id of a self-test; people never see these rows',
    `extra` Map(LowCardinality(String), String) COMMENT 'Everything else that may be kept, as sent' CODEC(ZSTD(1)),
    `dropped` Array(LowCardinality(String)) COMMENT 'Names of attributes that came with it and were not stored' CODEC(ZSTD(1)),
    `stored_at` DateTime DEFAULT now() CODEC(Delta(4), ZSTD(1)),
    INDEX idx_session session_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (metric, toDate(ts), member, session_id, ts, record_hash)
TTL toDateTime(ts) + toIntervalDay(90)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.otel_logs_in
(
    `Timestamp` DateTime64(9, 'UTC'),
    `TraceId` String,
    `SpanId` String,
    `TraceFlags` UInt8,
    `SeverityText` String,
    `SeverityNumber` UInt8,
    `ServiceName` String,
    `Body` String,
    `ResourceSchemaUrl` String,
    `ResourceAttributes` Map(LowCardinality(String), String),
    `ScopeSchemaUrl` String,
    `ScopeName` String,
    `ScopeVersion` String,
    `ScopeAttributes` Map(LowCardinality(String), String),
    `LogAttributes` Map(LowCardinality(String), String),
    `EventName` String
)
ENGINE = `Null`;

CREATE TABLE telemetry.otel_metrics_gauge_in
(
    `ResourceAttributes` Map(LowCardinality(String), String),
    `ResourceSchemaUrl` String,
    `ScopeName` String,
    `ScopeVersion` String,
    `ScopeAttributes` Map(LowCardinality(String), String),
    `ScopeDroppedAttrCount` UInt32,
    `ScopeSchemaUrl` String,
    `ServiceName` String,
    `MetricName` String,
    `MetricDescription` String,
    `MetricUnit` String,
    `Attributes` Map(LowCardinality(String), String),
    `StartTimeUnix` DateTime64(9, 'UTC'),
    `TimeUnix` DateTime64(9, 'UTC'),
    `Value` Float64,
    `Flags` UInt32,
    `Exemplars.FilteredAttributes` Array(Map(LowCardinality(String), String)),
    `Exemplars.TimeUnix` Array(DateTime64(9, 'UTC')),
    `Exemplars.Value` Array(Float64),
    `Exemplars.SpanId` Array(String),
    `Exemplars.TraceId` Array(String)
)
ENGINE = `Null`;

CREATE TABLE telemetry.otel_metrics_sum_in
(
    `ResourceAttributes` Map(LowCardinality(String), String),
    `ResourceSchemaUrl` String,
    `ScopeName` String,
    `ScopeVersion` String,
    `ScopeAttributes` Map(LowCardinality(String), String),
    `ScopeDroppedAttrCount` UInt32,
    `ScopeSchemaUrl` String,
    `ServiceName` String,
    `MetricName` String,
    `MetricDescription` String,
    `MetricUnit` String,
    `Attributes` Map(LowCardinality(String), String),
    `StartTimeUnix` DateTime64(9, 'UTC'),
    `TimeUnix` DateTime64(9, 'UTC'),
    `Value` Float64,
    `Flags` UInt32,
    `Exemplars.FilteredAttributes` Array(Map(LowCardinality(String), String)),
    `Exemplars.TimeUnix` Array(DateTime64(9, 'UTC')),
    `Exemplars.Value` Array(Float64),
    `Exemplars.SpanId` Array(String),
    `Exemplars.TraceId` Array(String),
    `AggregationTemporality` Int32,
    `IsMonotonic` Bool
)
ENGINE = `Null`;

CREATE VIEW telemetry.prices
(
    `model` String,
    `since` Date,
    `input` Nullable(Decimal(18, 6)),
    `output` Nullable(Decimal(18, 6)),
    `cache_write_5m` Nullable(Decimal(18, 6)),
    `cache_write_1h` Nullable(Decimal(18, 6)),
    `cache_read` Nullable(Decimal(18, 6))
)
AS SELECT *
FROM `values`('model String, since Date, input Nullable(Decimal(18, 6)), output Nullable(Decimal(18, 6)), cache_write_5m Nullable(Decimal(18, 6)), cache_write_1h Nullable(Decimal(18, 6)), cache_read Nullable(Decimal(18, 6))', ('claude-opus-5-5', '1970-01-01', '4', '20', '5', '8', '0.2'), ('claude-opus-5', '1970-01-01', '5', '25', '6.25', '10', '0.5'), ('claude-opus-4-8', '1970-01-01', '5', '25', '6.25', '10', '0.5'), ('claude-opus-4-7', '1970-01-01', '5', '25', '6.25', '10', '0.5'), ('claude-opus-4-6', '1970-01-01', '5', '25', '6.25', '10', '0.5'), ('claude-opus-4-5', '1970-01-01', '5', '25', '6.25', '10', '0.5'), ('claude-opus-4-1', '1970-01-01', '15', '75', '18.75', '30', '1.5'), ('claude-opus-4', '1970-01-01', '15', '75', '18.75', '30', '1.5'), ('claude-sonnet-5-5', '1970-01-01', '2', '10', '2.5', '4', '0.1'), ('claude-sonnet-5', '1970-01-01', '2', '10', '2.5', '4', '0.2'), ('claude-sonnet-4-6', '1970-01-01', '3', '15', '3.75', '6', '0.3'), ('claude-sonnet-4-5', '1970-01-01', '3', '15', '3.75', '6', '0.3'), ('claude-sonnet-4', '1970-01-01', '3', '15', '3.75', '6', '0.3'), ('claude-3-7-sonnet', '1970-01-01', '3', '15', '3.75', '6', '0.3'), ('claude-haiku-4-5', '1970-01-01', '1', '5', '1.25', '2', '0.1'), ('claude-3-5-haiku', '1970-01-01', '0.8', '4', '1', '1.6', '0.08'), ('claude-fable-5-1', '1970-01-01', '10', '50', '12.5', '20', '0.25'), ('claude-fable-5', '1970-01-01', '10', '50', '12.5', '20', '1'));

CREATE TABLE telemetry.purge_requests
(
    `id` String COMMENT 'Random; stands in the evidence too',
    `member` LowCardinality(String) COMMENT 'Who asked; empty once it is done',
    `session_id` String COMMENT 'Which session is to go; empty: everything of that member, or done',
    `requested_at` DateTime,
    `done_at` DateTime COMMENT '1970-01-01: not yet',
    `written_at` DateTime64(3) DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY id
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.retention_reports
(
    `made_at` DateTime COMMENT 'UTC; one report has one time',
    `class` LowCardinality(String) COMMENT 'Empty: a row that stands for the report itself',
    `day` Date,
    `rows` UInt64,
    `bytes` UInt64 COMMENT 'On disk, about',
    `keep_days` UInt32 COMMENT '0: for ever'
)
ENGINE = ReplacingMergeTree
ORDER BY (made_at, class, day)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.schema_migrations
(
    `name` String COMMENT 'Schema file',
    `checksum` String COMMENT 'SHA-256 of the file',
    `applied_at` DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
ORDER BY name
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.session_labels
(
    `member` LowCardinality(String) COMMENT 'Whose session it is',
    `session_id` String,
    `chapter` LowCardinality(String) COMMENT 'What `telemetry label` said; empty: as sent',
    `labelled_at` DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(labelled_at)
ORDER BY (member, session_id)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.sessions_daily_store
(
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `team` LowCardinality(String),
    `chapter` String,
    `git_branch` LowCardinality(String),
    `started` DateTime64(3, 'UTC'),
    `ended` DateTime64(3, 'UTC'),
    `user_id` String,
    `account` String,
    `client_version` String,
    `terminal_type` String,
    `os_type` String,
    `models` Array(String),
    `events` Float64,
    `prompts` Float64,
    `commands` Float64,
    `background_reports` Float64,
    `subagents` Float64,
    `requests` Float64,
    `api_errors` Float64,
    `refusals` Float64,
    `compactions` Float64,
    `tool_calls` Float64,
    `tool_failures` Float64,
    `edits` Float64,
    `failed_edits` Float64,
    `edits_by_prompt` Array(Float64),
    `approved` Float64,
    `rejected` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `stored_events` UInt64,
    `session_weight` Float64,
    `counts_as` Float64,
    `refreshed_at` DateTime
)
ENGINE = MergeTree
ORDER BY (day, member, session_id)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.suppressions
(
    `hash` String COMMENT 'Keyed hash of a member or a session that was purged',
    `until` DateTime64(3, 'UTC') COMMENT 'What happened until then is kept out',
    `at` DateTime DEFAULT now() COMMENT 'When it was purged'
)
ENGINE = ReplacingMergeTree(until)
ORDER BY hash
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.telemetry_events
(
    `ts` DateTime64(3, 'UTC') COMMENT 'When it happened, by the client\'s clock' CODEC(Delta(8), ZSTD(1)),
    `event` LowCardinality(String) COMMENT 'The client\'s own name for it, without the prefix claude_code.' CODEC(ZSTD(1)),
    `event_type` LowCardinality(String) COMMENT 'user_prompt, tool_call, api_request, api_error, validation_result or other' CODEC(ZSTD(1)),
    `session_id` String COMMENT 'Session; the same after a resume' CODEC(ZSTD(3)),
    `prompt_id` String COMMENT 'Joins everything one prompt set off' CODEC(ZSTD(3)),
    `seq` UInt64 COMMENT 'Order within one client process; 0 where none was sent (record_hash is not 0 then)' CODEC(DoubleDelta, ZSTD(1)),
    `record_hash` UInt64 COMMENT 'Identity of a record without session or sequence; else 0' CODEC(ZSTD(1)),
    `member` LowCardinality(String) COMMENT 'Opaque id of the member, stamped by the collector' CODEC(ZSTD(1)),
    `user_id` LowCardinality(String) COMMENT 'Random id of one Claude Code installation' CODEC(ZSTD(1)),
    `team` LowCardinality(String) CODEC(ZSTD(1)),
    `chapter` LowCardinality(String) COMMENT 'As sent; the views apply what `telemetry label` said' CODEC(ZSTD(1)),
    `git_branch` LowCardinality(String) CODEC(ZSTD(1)),
    `service_name` LowCardinality(String) COMMENT 'claude-code or claude-code-desktop' CODEC(ZSTD(1)),
    `client_version` LowCardinality(String) CODEC(ZSTD(1)),
    `os_type` LowCardinality(String) CODEC(ZSTD(1)),
    `os_version` LowCardinality(String) CODEC(ZSTD(1)),
    `host_arch` LowCardinality(String) CODEC(ZSTD(1)),
    `terminal_type` LowCardinality(String) CODEC(ZSTD(1)),
    `app_entrypoint` LowCardinality(String) CODEC(ZSTD(1)),
    `api_provider` LowCardinality(String) COMMENT 'Kind of API endpoint' CODEC(ZSTD(1)),
    `api_custom_url` LowCardinality(String) COMMENT 'true: the endpoint is a custom one' CODEC(ZSTD(1)),
    `model` LowCardinality(String) CODEC(ZSTD(1)),
    `query_source` LowCardinality(String) CODEC(ZSTD(1)),
    `speed` LowCardinality(String) CODEC(ZSTD(1)),
    `effort` LowCardinality(String) CODEC(ZSTD(1)),
    `cost_usd` Nullable(Decimal(18, 9)) COMMENT 'USD by list price; from cost_usd_micros where sent' CODEC(GCD, ZSTD(1)),
    `input_tokens` Nullable(UInt64) CODEC(ZSTD(1)),
    `output_tokens` Nullable(UInt64) CODEC(ZSTD(1)),
    `cache_read_tokens` Nullable(UInt64) CODEC(T64, ZSTD(1)),
    `cache_creation_tokens` Nullable(UInt64) CODEC(ZSTD(1)),
    `cache_creation_5m_tokens` Nullable(UInt64) CODEC(ZSTD(1)),
    `cache_creation_1h_tokens` Nullable(UInt64) CODEC(ZSTD(1)),
    `duration_ms` Nullable(UInt64) CODEC(T64, ZSTD(1)),
    `ttft_ms` Nullable(UInt64) COMMENT 'Time to the first token' CODEC(ZSTD(1)),
    `request_id` String CODEC(ZSTD(1)),
    `attempt` Nullable(UInt32) CODEC(ZSTD(1)),
    `status_code` Nullable(UInt32) CODEC(ZSTD(1)),
    `error` String COMMENT 'Fingerprint of the error text' CODEC(ZSTD(3)),
    `error_type` LowCardinality(String) COMMENT 'As the client names it; for API errors derived from the status' CODEC(ZSTD(1)),
    `prompt_length` Nullable(UInt64) COMMENT 'Characters' CODEC(ZSTD(1)),
    `response_length` Nullable(UInt64) COMMENT 'Characters' CODEC(ZSTD(1)),
    `command_name` LowCardinality(String) CODEC(ZSTD(1)),
    `tool_name` LowCardinality(String) CODEC(ZSTD(1)),
    `tool_use_id` String COMMENT 'Joins a decision to its result' CODEC(ZSTD(1)),
    `tool_source` LowCardinality(String) COMMENT 'builtin or mcp' CODEC(ZSTD(1)),
    `tool_input_size_bytes` Nullable(UInt64) CODEC(ZSTD(1)),
    `tool_result_size_bytes` Nullable(UInt64) CODEC(ZSTD(1)),
    `success` Nullable(Bool) CODEC(ZSTD(1)),
    `decision` LowCardinality(String) COMMENT 'accept or reject' CODEC(ZSTD(1)),
    `decision_source` LowCardinality(String) COMMENT 'config, hook, or user_* where a person decided' CODEC(ZSTD(1)),
    `permission_mode` LowCardinality(String) CODEC(ZSTD(1)),
    `skill_name` LowCardinality(String) CODEC(ZSTD(1)),
    `agent_name` LowCardinality(String) CODEC(ZSTD(1)),
    `weight` Float64 DEFAULT 1 COMMENT 'How many events this row stands for; multiply every sum by it' CODEC(ZSTD(1)),
    `session_weight` Float64 DEFAULT 1 COMMENT 'How many sessions this event\'s session stands for; 0: of that session only requests and errors are here',
    `synthetic` LowCardinality(String) COMMENT 'Run id of a self-test; people never see these rows' CODEC(ZSTD(1)),
    `extra` Map(LowCardinality(String), String) COMMENT 'Everything else that may be kept, as sent' CODEC(ZSTD(3)),
    `dropped` Array(LowCardinality(String)) COMMENT 'Names of attributes that came with it and were not stored' CODEC(ZSTD(1)),
    `stored_at` DateTime DEFAULT now() COMMENT 'When the row was written' CODEC(Delta(4), ZSTD(1)),
    INDEX idx_session session_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_request request_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
PRIMARY KEY (toDate(ts), member, session_id)
ORDER BY (toDate(ts), member, session_id, seq, ts, event, record_hash)
TTL toDateTime(ts) + toIntervalDay(90)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.tools_daily_store
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `tool_name` LowCardinality(String),
    `calls` Float64,
    `failures` Float64,
    `accepted_by_rule` Float64,
    `rejected_by_rule` Float64,
    `accepted_by_person` Float64,
    `rejected_by_person` Float64,
    `result_bytes` Nullable(Float64),
    `duration_ms` Nullable(Float64),
    `refreshed_at` DateTime
)
ENGINE = MergeTree
ORDER BY (day, member, chapter, tool_name)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.touched_days
(
    `day` Date,
    `at` DateTime COMMENT 'When an event of that day last arrived'
)
ENGINE = ReplacingMergeTree(at)
ORDER BY day
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.usage_daily_store
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `git_branch` LowCardinality(String),
    `model` LowCardinality(String),
    `query_source` LowCardinality(String),
    `agent_name` LowCardinality(String),
    `speed` LowCardinality(String),
    `client_version` LowCardinality(String),
    `requests` Float64,
    `requests_without_cost` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `cache_creation_5m_tokens` Nullable(Float64),
    `cache_creation_1h_tokens` Nullable(Float64),
    `cache_creation_untold_tokens` Float64,
    `duration_ms` Nullable(Float64),
    `refreshed_at` DateTime
)
ENGINE = MergeTree
ORDER BY (day, member, chapter, model)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry.validations_store
(
    `ts` DateTime64(3, 'UTC'),
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `team` String,
    `chapter` String,
    `tool_name` String,
    `permission_mode` String,
    `decision_source` String,
    `outcome` String,
    `weight` Float64,
    `refreshed_at` DateTime
)
ENGINE = MergeTree
ORDER BY (day, member, session_id)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry_team.active_daily
(
    `day` Date,
    `member` LowCardinality(String) COMMENT 'Empty',
    `session_id` String COMMENT 'Empty',
    `team` LowCardinality(String),
    `active_s` Float64
)
ENGINE = MergeTree
ORDER BY (day, team)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry_team.activity_hourly
(
    `day` Date,
    `hour` Nullable(DateTime('UTC')) COMMENT 'Unknown under the floor',
    `member` LowCardinality(String) COMMENT 'Empty',
    `team` LowCardinality(String),
    `chapter` LowCardinality(String) COMMENT 'Empty',
    `events` Nullable(Float64),
    `prompts` Nullable(Float64),
    `requests` Float64,
    `tool_calls` Nullable(Float64),
    `failures` Nullable(Float64),
    `cost_usd` Nullable(Decimal(38, 9))
)
ENGINE = MergeTree
ORDER BY (day, team)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry_team.daily_metrics
(
    `day` Date,
    `team` LowCardinality(String),
    `chapter` String COMMENT 'Or (under floor), which has no cost: that is by chapter',
    `members` UInt64,
    `sessions` Nullable(UInt64),
    `prompts` Nullable(Float64),
    `requests` Float64,
    `api_errors` Nullable(Float64),
    `tool_calls` Nullable(Float64),
    `tool_failures` Nullable(Float64),
    `edits` Nullable(Float64),
    `approved` Nullable(Float64),
    `rejected` Nullable(Float64),
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64)
)
ENGINE = MergeTree
ORDER BY (day, team, chapter)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry_team.durations_daily
(
    `day` Date,
    `member` LowCardinality(String) COMMENT 'Empty',
    `team` LowCardinality(String),
    `event` LowCardinality(String) COMMENT 'Or (under floor)',
    `model` LowCardinality(String),
    `tool_name` LowCardinality(String),
    `about_ms` Nullable(UInt64),
    `events` Float64,
    `duration_ms` Nullable(Float64)
)
ENGINE = MergeTree
ORDER BY (day, team, event)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry_team.errors_daily
(
    `day` Date,
    `member` LowCardinality(String) COMMENT 'Empty',
    `team` LowCardinality(String),
    `chapter` LowCardinality(String) COMMENT 'Empty',
    `event` LowCardinality(String) COMMENT 'Or (under floor)',
    `model` LowCardinality(String) COMMENT 'Empty',
    `tool_name` LowCardinality(String),
    `error_type` LowCardinality(String),
    `status_code` Nullable(UInt32),
    `error` String COMMENT 'Or (under floor)',
    `errors` Float64,
    `last_ts` DateTime64(3, 'UTC') COMMENT 'The day'
)
ENGINE = MergeTree
ORDER BY (day, team, event)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry_team.tools_daily
(
    `day` Date,
    `member` LowCardinality(String) COMMENT 'Empty',
    `team` LowCardinality(String),
    `chapter` LowCardinality(String) COMMENT 'Empty',
    `tool_name` LowCardinality(String) COMMENT 'Or (under floor)',
    `calls` Float64,
    `failures` Float64,
    `accepted_by_rule` Float64,
    `rejected_by_rule` Float64,
    `accepted_by_person` Float64,
    `rejected_by_person` Float64,
    `result_bytes` Nullable(Float64),
    `duration_ms` Nullable(Float64)
)
ENGINE = MergeTree
ORDER BY (day, team, tool_name)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry_team.usage_daily
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` LowCardinality(String),
    `git_branch` LowCardinality(String) COMMENT '(not shown)',
    `model` LowCardinality(String),
    `query_source` LowCardinality(String) COMMENT '(not shown)',
    `agent_name` LowCardinality(String) COMMENT '(not shown)',
    `speed` LowCardinality(String) COMMENT 'Fast mode has another price',
    `client_version` LowCardinality(String) COMMENT '(not shown)',
    `requests` Float64,
    `requests_without_cost` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `cache_creation_5m_tokens` Nullable(Float64),
    `cache_creation_1h_tokens` Nullable(Float64),
    `cache_creation_untold_tokens` Float64
)
ENGINE = MergeTree
ORDER BY (day, team, member, chapter, model)
SETTINGS index_granularity = 8192;

CREATE TABLE telemetry_team.validations
(
    `ts` DateTime64(3, 'UTC') COMMENT 'The day',
    `day` Date,
    `member` LowCardinality(String) COMMENT 'Empty',
    `session_id` String COMMENT 'Empty',
    `team` LowCardinality(String),
    `chapter` LowCardinality(String) COMMENT 'Empty',
    `tool_name` LowCardinality(String) COMMENT 'Or (under floor)',
    `permission_mode` LowCardinality(String) COMMENT 'Empty',
    `decision_source` LowCardinality(String) COMMENT 'Empty',
    `outcome` String COMMENT 'Or (under floor)',
    `weight` Float64 COMMENT 'Decisions'
)
ENGINE = MergeTree
ORDER BY (day, team, tool_name)
SETTINGS index_granularity = 8192;

CREATE MATERIALIZED VIEW telemetry.access_log_keep
REFRESH EVERY 1 MINUTE APPEND TO telemetry.access_log
(
    `ts` DateTime64(3, 'UTC'),
    `user` String,
    `address` String,
    `interface` String,
    `action` String,
    `kind` String,
    `tables` Array(String),
    `query` String,
    `query_hash` UInt64,
    `read_rows` UInt64,
    `read_bytes` UInt64,
    `result_rows` UInt64,
    `result_bytes` UInt64,
    `duration_ms` UInt64,
    `result` String,
    `error_code` Int32,
    `error` String,
    `id` UInt64
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (
        SELECT toDateTime(greatest(least(max(ts), now64(3)), toDateTime64('1970-01-05 00:00:00', 3, 'UTC')), 'UTC') - 600
        FROM telemetry.access_log
    ) AS since,
    (name -> if(match(name, '^(m-[a-z0-9]{10}|telemetry_[a-z]+|default)$'), name, '(unknown)')) AS known,
    (ip -> replaceOne(toString(ip), '::ffff:', '')) AS shown,
    queries AS
    (
        SELECT
            toDateTime64(event_time_microseconds, 3, 'UTC') AS ts,
            known(initial_user) AS user,
            shown(initial_address) AS address,
            transform(toUInt8(interface), [1, 2, 6, 7, 9], ['TCP', 'HTTP', 'local', 'another server', 'background'], 'other') AS interface,
            'query' AS action,
            query_kind AS kind,
            arrayMap(each -> toString(each), tables) AS tables,
            substringUTF8(toValidUTF8(trimBoth(normalizeQuery(query))), 1, 4000) AS query,
            normalized_query_hash AS query_hash,
            read_rows,
            read_bytes,
            result_rows,
            result_bytes,
            query_duration_ms AS duration_ms,
            exception_code AS error_code,
            cityHash64(query_id, event_time_microseconds) AS id
        FROM system.query_log
        WHERE (event_date >= toDate(since)) AND (event_time >= since) AND (type != 'QueryStart') AND is_initial_query AND (initial_user != '') AND (NOT ((initial_user = 'telemetry_admin') AND (exception_code = 0) AND arrayAll(each -> (each IN ('telemetry.schema_migrations', 'system.one', 'system.settings')), tables)))
    ),
    failed_logins AS
    (
        SELECT
            toDateTime64(event_time_microseconds, 3, 'UTC') AS ts,
            known(ifNull(user, '')) AS user,
            shown(client_address) AS address,
            toString(interface) AS interface,
            cityHash64(auth_id, event_time_microseconds) AS id
        FROM system.session_log
        WHERE (event_date >= toDate(since)) AND (event_time >= since) AND (type = 'LoginFailure')
    ),
    steps AS
    (
        SELECT
            ifNull(s.user, '') AS user,
            shown(s.client_address) AS address,
            s.event_time_microseconds AS at,
            0 AS begins
        FROM system.session_log AS s
        WHERE (s.event_date >= toDate(since)) AND (s.event_time >= since) AND (s.type = 'LoginSuccess') AND match(ifNull(s.user, ''), '^m-[a-z0-9]{10}$')
        UNION ALL
        SELECT
            q.user AS user,
            shown(q.address) AS address,
            q.query_start_time_microseconds AS at,
            1 AS begins
        FROM system.query_log AS q
        WHERE (q.event_date >= toDate(since)) AND (q.event_time >= since) AND (q.type IN ('QueryStart', 'ExceptionBeforeStart')) AND q.is_initial_query
    ),
    refused AS
    (
        SELECT
            user,
            address,
            arrayJoin(arrayFold((waiting, step) -> if((step.2) = 1, arrayPopBack(waiting), arrayPushBack(waiting, step.1)), arraySort(groupArray((at, begins))), CAST([], 'Array(DateTime64(6))'))) AS at
        FROM steps
        GROUP BY
            user,
            address
    )
SELECT
    ts,
    user,
    address,
    interface,
    action,
    kind,
    tables,
    query,
    query_hash,
    read_rows,
    read_bytes,
    result_rows,
    result_bytes,
    duration_ms,
    result,
    error_code,
    error,
    id
FROM
(
    SELECT
        ts,
        user,
        address,
        interface,
        action,
        kind,
        tables,
        query,
        query_hash,
        read_rows,
        read_bytes,
        result_rows,
        result_bytes,
        duration_ms,
        error_code,
        if(error_code = 0, '', errorCodeToName(error_code)) AS error,
        id,
        multiIf(error_code = 0, 'ok', (error IN ('ACCESS_DENIED', 'READONLY', 'SETTING_CONSTRAINT_VIOLATION', 'QUOTA_EXCEEDED', 'QUERY_IS_PROHIBITED', 'DATABASE_ACCESS_DENIED', 'PATH_ACCESS_DENIED', 'SET_NON_GRANTED_ROLE', 'SUPPORT_IS_DISABLED', 'FUNCTION_NOT_ALLOWED', 'TOO_MANY_SIMULTANEOUS_QUERIES')), 'denied', 'failed') AS result
    FROM queries
    UNION ALL
    SELECT
        ts,
        user,
        address,
        interface,
        'login' AS action,
        '' AS kind,
        CAST([], 'Array(String)') AS tables,
        '' AS query,
        toUInt64(0) AS query_hash,
        toUInt64(0) AS read_rows,
        toUInt64(0) AS read_bytes,
        toUInt64(0) AS result_rows,
        toUInt64(0) AS result_bytes,
        toUInt64(0) AS duration_ms,
        516 AS error_code,
        'AUTHENTICATION_FAILED' AS error,
        id,
        'denied' AS result
    FROM failed_logins
    UNION ALL
    SELECT
        toDateTime64(at, 3, 'UTC') AS ts,
        user,
        address,
        '' AS interface,
        'request' AS action,
        '' AS kind,
        CAST([], 'Array(String)') AS tables,
        '' AS query,
        toUInt64(0) AS query_hash,
        toUInt64(0) AS read_rows,
        toUInt64(0) AS read_bytes,
        toUInt64(0) AS result_rows,
        toUInt64(0) AS result_bytes,
        toUInt64(0) AS duration_ms,
        0 AS error_code,
        '' AS error,
        cityHash64(user, address, at) AS id,
        'denied' AS result
    FROM refused
    WHERE at < (now64(6) - 5)
)
WHERE (ts, id) NOT IN (
    SELECT
        ts,
        id
    FROM telemetry.access_log
    WHERE ts >= (since - 1)
);

CREATE VIEW telemetry.active_daily
(
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `active_s` Float64
)
AS WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.active_daily_store
            LIMIT 1
        )
    ) AS refreshed
SELECT * EXCEPT refreshed_at
FROM telemetry.active_daily_store
WHERE day NOT IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)
UNION ALL
WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.active_daily_store
            LIMIT 1
        )
    ) AS refreshed
SELECT
    day,
    member,
    session_id,
    sum(if(temporality = 'cumulative', largest, total)) AS active_s
FROM
(
    SELECT
        toDate(p.ts) AS day,
        p.member AS member,
        p.session_id AS session_id,
        p.temporality AS temporality,
        sum(p.value * p.weight) AS total,
        max(p.value) AS largest
    FROM telemetry.metric_points AS p
    FINAL
    WHERE (toDate(p.ts) IN (
        SELECT day
        FROM telemetry.touched_days
        WHERE (at + 120) >= refreshed
    )) AND (p.metric = 'claude_code.active_time.total') AND (p.synthetic = '')
    GROUP BY
        day,
        member,
        session_id,
        temporality,
        p.type,
        p.start_ts
)
GROUP BY
    day,
    member,
    session_id;

CREATE VIEW telemetry.active_daily_now
(
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `active_s` Float64
)
AS SELECT
    day,
    member,
    session_id,
    sum(if(temporality = 'cumulative', largest, total)) AS active_s
FROM
(
    SELECT
        toDate(p.ts) AS day,
        p.member AS member,
        p.session_id AS session_id,
        p.temporality AS temporality,
        sum(p.value * p.weight) AS total,
        max(p.value) AS largest
    FROM telemetry.metric_points AS p
    FINAL
    WHERE (p.metric = 'claude_code.active_time.total') AND (p.synthetic = '')
    GROUP BY
        day,
        member,
        session_id,
        temporality,
        p.type,
        p.start_ts
)
GROUP BY
    day,
    member,
    session_id;

CREATE VIEW telemetry.activity_hourly
(
    `day` Date,
    `hour` DateTime('UTC'),
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `events` Float64,
    `prompts` Float64,
    `requests` Float64,
    `tool_calls` Float64,
    `failures` Float64,
    `cost_usd` Nullable(Decimal(38, 9))
)
AS WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.activity_hourly_store
            LIMIT 1
        )
    ) AS refreshed
SELECT * EXCEPT refreshed_at
FROM telemetry.activity_hourly_store
WHERE day NOT IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)
UNION ALL
WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.activity_hourly_store
            LIMIT 1
        )
    ) AS refreshed
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
    sumIf(e.weight, (e.event = 'api_error') OR (e.success = false)) AS failures,
    CAST(sumIf(e.cost_usd * toDecimal128(e.weight, 6), e.event = 'api_request'), 'Nullable(Decimal(38, 9))') AS cost_usd
FROM telemetry.telemetry_events AS e
FINAL
ANY LEFT JOIN telemetry.session_labels AS l
FINAL ON (e.member = l.member) AND (e.session_id = l.session_id)
WHERE (toDate(e.ts) IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)) AND (e.synthetic = '')
GROUP BY
    day,
    hour,
    member,
    team,
    chapter;

CREATE VIEW telemetry.activity_hourly_now
(
    `day` Date,
    `hour` DateTime('UTC'),
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `events` Float64,
    `prompts` Float64,
    `requests` Float64,
    `tool_calls` Float64,
    `failures` Float64,
    `cost_usd` Nullable(Decimal(38, 9))
)
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
    sumIf(e.weight, (e.event = 'api_error') OR (e.success = false)) AS failures,
    CAST(sumIf(e.cost_usd * toDecimal128(e.weight, 6), e.event = 'api_request'), 'Nullable(Decimal(38, 9))') AS cost_usd
FROM telemetry.telemetry_events AS e
FINAL
ANY LEFT JOIN telemetry.session_labels AS l
FINAL ON (e.member = l.member) AND (e.session_id = l.session_id)
WHERE e.synthetic = ''
GROUP BY
    day,
    hour,
    member,
    team,
    chapter;

CREATE VIEW telemetry.durations_daily
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `event` LowCardinality(String),
    `model` LowCardinality(String),
    `tool_name` LowCardinality(String),
    `about_ms` Nullable(UInt64),
    `events` Float64,
    `duration_ms` Nullable(Float64)
)
AS WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.durations_daily_store
            LIMIT 1
        )
    ) AS refreshed
SELECT * EXCEPT refreshed_at
FROM telemetry.durations_daily_store
WHERE day NOT IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)
UNION ALL
WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.durations_daily_store
            LIMIT 1
        )
    ) AS refreshed
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
FROM telemetry.telemetry_events AS e
FINAL
WHERE (toDate(e.ts) IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)) AND (e.synthetic = '') AND (e.event IN ('api_request', 'tool_result'))
GROUP BY
    day,
    member,
    team,
    event,
    model,
    tool_name,
    about_ms;

CREATE VIEW telemetry.durations_daily_now
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `event` LowCardinality(String),
    `model` LowCardinality(String),
    `tool_name` LowCardinality(String),
    `about_ms` Nullable(UInt64),
    `events` Float64,
    `duration_ms` Nullable(Float64)
)
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
FROM telemetry.telemetry_events AS e
FINAL
WHERE (e.synthetic = '') AND (e.event IN ('api_request', 'tool_result'))
GROUP BY
    day,
    member,
    team,
    event,
    model,
    tool_name,
    about_ms;

CREATE MATERIALIZED VIEW telemetry.edge_log_keep
REFRESH EVERY 1 MINUTE APPEND TO telemetry.edge_log
(
    `ts` DateTime64(3, 'UTC'),
    `address` String,
    `method` String,
    `path` String,
    `status` UInt16,
    `duration_ms` UInt64,
    `bytes` UInt64,
    `user` String,
    `id` UInt64
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (
        SELECT toDateTime(greatest(least(max(ts), now64(3)), toDateTime64('1970-01-05 00:00:00', 3, 'UTC')), 'UTC') - 600
        FROM telemetry.edge_log
    ) AS since
SELECT
    toDateTime64(fromUnixTimestamp64Milli(toInt64(JSONExtractFloat(line, 'ts') * 1000)), 3, 'UTC') AS ts,
    toValidUTF8(substring(JSONExtractString(line, 'request', 'remote_ip'), 1, 64)) AS address,
    toValidUTF8(substring(JSONExtractString(line, 'request', 'method'), 1, 16)) AS method,
    toValidUTF8(substring(splitByChar('?', JSONExtractString(line, 'request', 'uri'))[1], 1, 200)) AS path,
    toUInt16(least(JSONExtractUInt(line, 'status'), 999)) AS status,
    toUInt64(greatest(0, least(JSONExtractFloat(line, 'duration'), 1000000000.)) * 1000) AS duration_ms,
    JSONExtractUInt(line, 'size') AS bytes,
    multiIf(named = '', '', match(named, '^(m-[a-z0-9]{10}|telemetry_[a-z]+|default)$'), named, '(unknown)') AS user,
    cityHash64(line) AS id
FROM
(
    SELECT
        line,
        replaceRegexpOne(if(JSONExtractString(line, 'user_id') != '', JSONExtractString(line, 'user_id'), JSONExtractString(line, 'request', 'headers', 'X-Clickhouse-User', 1)), '(\\.2)?(\\+.*)?$', '') AS named
    FROM file('edge/*/*.log', 'LineAsString', 'line String')
    WHERE startsWith(JSONExtractString(line, 'logger'), 'http.log.access')
)
WHERE (ts >= since) AND (ts < (now64(3) + 600)) AND (NOT ((status < 300) AND (startsWith(path, '/v1/') OR (path = '/healthz')))) AND ((ts, id) NOT IN (
    SELECT
        ts,
        id
    FROM telemetry.edge_log
    WHERE ts >= (since - 1)
));

CREATE VIEW telemetry.errors_daily
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `event` LowCardinality(String),
    `model` LowCardinality(String),
    `tool_name` LowCardinality(String),
    `error_type` LowCardinality(String),
    `status_code` Nullable(UInt32),
    `error` String,
    `errors` Float64,
    `last_ts` DateTime64(3, 'UTC')
)
AS WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.errors_daily_store
            LIMIT 1
        )
    ) AS refreshed
SELECT * EXCEPT refreshed_at
FROM telemetry.errors_daily_store
WHERE day NOT IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)
UNION ALL
WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.errors_daily_store
            LIMIT 1
        )
    ) AS refreshed
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
FROM telemetry.telemetry_events AS e
FINAL
ANY LEFT JOIN telemetry.session_labels AS l
FINAL ON (e.member = l.member) AND (e.session_id = l.session_id)
WHERE (toDate(e.ts) IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)) AND (e.synthetic = '') AND ((e.event IN ('api_error', 'api_retries_exhausted', 'api_refusal', 'internal_error')) OR (e.success = false))
GROUP BY
    day,
    member,
    team,
    chapter,
    event,
    model,
    tool_name,
    error_type,
    status_code,
    error;

CREATE VIEW telemetry.errors_daily_now
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `event` LowCardinality(String),
    `model` LowCardinality(String),
    `tool_name` LowCardinality(String),
    `error_type` LowCardinality(String),
    `status_code` Nullable(UInt32),
    `error` String,
    `errors` Float64,
    `last_ts` DateTime64(3, 'UTC')
)
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
FROM telemetry.telemetry_events AS e
FINAL
ANY LEFT JOIN telemetry.session_labels AS l
FINAL ON (e.member = l.member) AND (e.session_id = l.session_id)
WHERE (e.synthetic = '') AND ((e.event IN ('api_error', 'api_retries_exhausted', 'api_refusal', 'internal_error')) OR (e.success = false))
GROUP BY
    day,
    member,
    team,
    chapter,
    event,
    model,
    tool_name,
    error_type,
    status_code,
    error;

CREATE MATERIALIZED VIEW telemetry.event_content_mv TO telemetry.event_content
(
    `ts` DateTime64(3, 'UTC'),
    `event` String,
    `kind` String,
    `session_id` String,
    `prompt_id` String,
    `seq` UInt64,
    `record_hash` UInt64,
    `member` String,
    `tool_name` String,
    `tool_use_id` String,
    `content` String,
    `synthetic` String
)
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
    (
        SELECT groupArray((hash, until))
        FROM telemetry.suppressions
    ) AS purged,
    LogAttributes AS a
SELECT
    toDateTime64(Timestamp, 3, 'UTC') AS ts,
    a['event.name'] AS event,
    arrayJoin(arrayFilter(k -> ((a[k]) != ''), ['tool_parameters', 'error.message', 'prompt', 'response', 'tool_input'])) AS kind,
    a['session.id'] AS session_id,
    a['prompt.id'] AS prompt_id,
    coalesce(toUInt64OrNull(a['event.sequence']), 0) AS seq,
    reinterpretAsUInt64(reverse(unhex(a['telemetry.record_hash']))) AS record_hash,
    ResourceAttributes['member'] AS member,
    a['tool_name'] AS tool_name,
    if((a['tool_use_id']) != '', a['tool_use_id'], a['use_id']) AS tool_use_id,
    a[kind] AS content,
    a['telemetry.synthetic'] AS synthetic
FROM telemetry.otel_logs_in
WHERE NOT arrayExists(x -> (((x.2) >= toDateTime64(Timestamp, 3, 'UTC')) AND (((x.1) = (ResourceAttributes['telemetry.purge_hash'])) OR ((x.1) = (LogAttributes['telemetry.purge_hash'])))), purged);

CREATE MATERIALIZED VIEW telemetry.kept_out_gauge_mv TO telemetry.kept_out
(
    `day` Date,
    `records` UInt64
)
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
    (
        SELECT groupArray((hash, until))
        FROM telemetry.suppressions
    ) AS purged
SELECT
    today() AS day,
    count() AS records
FROM telemetry.otel_metrics_gauge_in
WHERE arrayExists(x -> (((x.2) >= toDateTime64(TimeUnix, 3, 'UTC')) AND (((x.1) = (ResourceAttributes['telemetry.purge_hash'])) OR ((x.1) = (Attributes['telemetry.purge_hash'])))), purged)
HAVING records > 0;

CREATE MATERIALIZED VIEW telemetry.kept_out_logs_mv TO telemetry.kept_out
(
    `day` Date,
    `records` UInt64
)
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
    (
        SELECT groupArray((hash, until))
        FROM telemetry.suppressions
    ) AS purged
SELECT
    today() AS day,
    count() AS records
FROM telemetry.otel_logs_in
WHERE arrayExists(x -> (((x.2) >= toDateTime64(Timestamp, 3, 'UTC')) AND (((x.1) = (ResourceAttributes['telemetry.purge_hash'])) OR ((x.1) = (LogAttributes['telemetry.purge_hash'])))), purged)
HAVING records > 0;

CREATE MATERIALIZED VIEW telemetry.kept_out_sum_mv TO telemetry.kept_out
(
    `day` Date,
    `records` UInt64
)
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
    (
        SELECT groupArray((hash, until))
        FROM telemetry.suppressions
    ) AS purged
SELECT
    today() AS day,
    count() AS records
FROM telemetry.otel_metrics_sum_in
WHERE arrayExists(x -> (((x.2) >= toDateTime64(TimeUnix, 3, 'UTC')) AND (((x.1) = (ResourceAttributes['telemetry.purge_hash'])) OR ((x.1) = (Attributes['telemetry.purge_hash'])))), purged)
HAVING records > 0;

CREATE VIEW telemetry.labels
(
    `member` LowCardinality(String),
    `session_id` String,
    `chapter` LowCardinality(String)
)
AS SELECT
    member,
    session_id,
    chapter
FROM telemetry.session_labels
FINAL
WHERE chapter != '';

CREATE MATERIALIZED VIEW telemetry.metric_points_gauge_mv TO telemetry.metric_points
(
    `ts` DateTime64(3, 'UTC'),
    `start_ts` DateTime64(3, 'UTC'),
    `metric` String,
    `unit` String,
    `value` Float64,
    `temporality` String,
    `is_monotonic` Bool,
    `record_hash` UInt64,
    `member` String,
    `user_id` String,
    `session_id` String,
    `team` String,
    `chapter` String,
    `git_branch` String,
    `service_name` String,
    `client_version` String,
    `weight` Float64,
    `synthetic` String,
    `extra` Map(LowCardinality(String), String),
    `dropped` Array(String)
)
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
    (
        SELECT groupArray((hash, until))
        FROM telemetry.suppressions
    ) AS purged,
    Attributes AS a,
    ResourceAttributes AS r,
    (k -> if((a[k]) != '', a[k], r[k])) AS context,
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
    mapConcat(mapFilter((k, v) -> (k NOT IN ('member', 'team', 'chapter', 'git.branch', 'service.name', 'service.version', 'telemetry.dropped', 'telemetry.purge_hash')), r), mapFilter((k, v) -> (NOT has(texts, k)), a)) AS extra,
    arrayFilter(x -> (x != ''), splitByChar(',', concat(a['telemetry.dropped'], ',', r['telemetry.dropped'], ',', ScopeAttributes['telemetry.dropped']))) AS dropped
FROM telemetry.otel_metrics_gauge_in
WHERE NOT arrayExists(x -> (((x.2) >= toDateTime64(TimeUnix, 3, 'UTC')) AND (((x.1) = (ResourceAttributes['telemetry.purge_hash'])) OR ((x.1) = (Attributes['telemetry.purge_hash'])))), purged);

CREATE MATERIALIZED VIEW telemetry.metric_points_sum_mv TO telemetry.metric_points
(
    `ts` DateTime64(3, 'UTC'),
    `start_ts` DateTime64(3, 'UTC'),
    `metric` String,
    `unit` String,
    `value` Float64,
    `temporality` String,
    `is_monotonic` Bool,
    `record_hash` UInt64,
    `member` String,
    `user_id` String,
    `session_id` String,
    `team` String,
    `chapter` String,
    `git_branch` String,
    `service_name` String,
    `client_version` String,
    `os_type` String,
    `host_arch` String,
    `terminal_type` String,
    `app_entrypoint` String,
    `model` String,
    `query_source` String,
    `effort` String,
    `type` String,
    `start_type` String,
    `tool_name` String,
    `decision` String,
    `decision_source` String,
    `language` String,
    `skill_name` String,
    `agent_name` String,
    `weight` Float64,
    `synthetic` String,
    `extra` Map(LowCardinality(String), String),
    `dropped` Array(String)
)
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
    (
        SELECT groupArray((hash, until))
        FROM telemetry.suppressions
    ) AS purged,
    Attributes AS a,
    ResourceAttributes AS r,
    (k -> if((a[k]) != '', a[k], r[k])) AS context,
    ['session.id', 'user.id', 'team', 'chapter', 'git.branch', 'terminal.type', 'app.entrypoint', 'model', 'query_source', 'effort', 'type', 'start_type', 'tool_name', 'decision', 'source', 'language', 'skill.name', 'agent.name', 'telemetry.record_hash', 'telemetry.synthetic', 'telemetry.dropped', 'telemetry.purge_hash', 'weight'] AS texts
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
    mapConcat(mapFilter((k, v) -> (k NOT IN ('member', 'team', 'chapter', 'git.branch', 'service.name', 'service.version', 'os.type', 'host.arch', 'telemetry.dropped', 'telemetry.purge_hash')), r), mapFilter((k, v) -> (NOT has(texts, k)), a)) AS extra,
    arrayFilter(x -> (x != ''), splitByChar(',', concat(a['telemetry.dropped'], ',', r['telemetry.dropped'], ',', ScopeAttributes['telemetry.dropped']))) AS dropped
FROM telemetry.otel_metrics_sum_in
WHERE NOT arrayExists(x -> (((x.2) >= toDateTime64(TimeUnix, 3, 'UTC')) AND (((x.1) = (ResourceAttributes['telemetry.purge_hash'])) OR ((x.1) = (Attributes['telemetry.purge_hash'])))), purged);

CREATE VIEW telemetry.purge_status
(
    `id` String,
    `what` String,
    `requested_at` DateTime,
    `done_at` Nullable(DateTime),
    `days` Int64
)
DEFINER = telemetry_views SQL SECURITY DEFINER
AS SELECT
    id,
    if((session_id = '') AND (member = ''), '', if(session_id = '', 'member', 'session')) AS what,
    requested_at,
    nullIf(done_at, toDateTime(0)) AS done_at,
    dateDiff('day', requested_at, if(p.done_at = toDateTime(0), now(), p.done_at)) AS days
FROM telemetry.purge_requests AS p
FINAL;

CREATE VIEW telemetry.retention
(
    `events_days` Nullable(UInt16),
    `metrics_days` UInt8,
    `content_days` UInt8
)
AS SELECT
    toUInt16(least(90, (
        SELECT if(count() = 0, 65535, greatest(dateDiff('day', max(last_day), today()), 1))
        FROM telemetry.deletions
        WHERE why = 'limit'
    ))) AS events_days,
    90 AS metrics_days,
    14 AS content_days;

CREATE VIEW telemetry.sessions_daily
(
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `team` LowCardinality(String),
    `chapter` String,
    `git_branch` LowCardinality(String),
    `started` DateTime64(3, 'UTC'),
    `ended` DateTime64(3, 'UTC'),
    `user_id` String,
    `account` String,
    `client_version` String,
    `terminal_type` String,
    `os_type` String,
    `models` Array(String),
    `events` Float64,
    `prompts` Float64,
    `commands` Float64,
    `background_reports` Float64,
    `subagents` Float64,
    `requests` Float64,
    `api_errors` Float64,
    `refusals` Float64,
    `compactions` Float64,
    `tool_calls` Float64,
    `tool_failures` Float64,
    `edits` Float64,
    `failed_edits` Float64,
    `edits_by_prompt` Array(Float64),
    `approved` Float64,
    `rejected` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `stored_events` UInt64,
    `session_weight` Float64,
    `counts_as` Float64
)
AS WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.sessions_daily_store
            LIMIT 1
        )
    ) AS refreshed
SELECT * EXCEPT refreshed_at
FROM telemetry.sessions_daily_store
WHERE day NOT IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)
UNION ALL
WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.sessions_daily_store
            LIMIT 1
        )
    ) AS refreshed
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
    sumIf(e.weight, (e.event = 'user_prompt') AND (e.command_name != '')) AS commands,
    sumIf(e.weight, (e.event = 'subagent_completed') AND ((e.extra['is_async']) = 'true')) AS background_reports,
    sumIf(e.weight, e.event = 'subagent_completed') AS subagents,
    sumIf(e.weight, e.event = 'api_request') AS requests,
    sumIf(e.weight, e.event = 'api_error') AS api_errors,
    sumIf(e.weight, e.event = 'api_refusal') AS refusals,
    sumIf(e.weight, e.event = 'compaction') AS compactions,
    sumIf(e.weight, e.event = 'tool_result') AS tool_calls,
    sumIf(e.weight, (e.event = 'tool_result') AND (e.success = false)) AS tool_failures,
    sumIf(e.weight, (e.event = 'tool_result') AND e.success AND (e.tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit'))) AS edits,
    sumIf(e.weight, (e.event = 'tool_result') AND (e.success = false) AND (e.tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit'))) AS failed_edits,
    mapValues(sumMapIf(map(e.prompt_id, e.weight), (e.event = 'tool_result') AND e.success AND (e.prompt_id != '') AND (e.tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit')))) AS edits_by_prompt,
    sumIf(e.weight, (e.event_type = 'validation_result') AND (e.decision = 'accept')) AS approved,
    sumIf(e.weight, (e.event_type = 'validation_result') AND (e.decision = 'reject')) AS rejected,
    CAST(sumIf(e.cost_usd * toDecimal128(e.weight, 6), e.event = 'api_request'), 'Nullable(Decimal(38, 9))') AS cost_usd,
    sumIf(e.input_tokens * e.weight, e.event = 'api_request') AS input_tokens,
    sumIf(e.output_tokens * e.weight, e.event = 'api_request') AS output_tokens,
    sumIf(e.cache_read_tokens * e.weight, e.event = 'api_request') AS cache_read_tokens,
    sumIf(e.cache_creation_tokens * e.weight, e.event = 'api_request') AS cache_creation_tokens,
    count() AS stored_events,
    max(e.session_weight) AS session_weight,
    multiIf((session_id = '') OR ((((prompts + requests) + api_errors) + tool_calls) = 0), 0, (requests + api_errors) > 0, 1, session_weight) AS counts_as
FROM telemetry.telemetry_events AS e
FINAL
ANY LEFT JOIN telemetry.session_labels AS l
FINAL ON (e.member = l.member) AND (e.session_id = l.session_id)
WHERE (toDate(e.ts) IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)) AND (e.synthetic = '')
GROUP BY
    day,
    member,
    session_id,
    team,
    chapter,
    git_branch;

CREATE VIEW telemetry.sessions_daily_now
(
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `team` LowCardinality(String),
    `chapter` String,
    `git_branch` LowCardinality(String),
    `started` DateTime64(3, 'UTC'),
    `ended` DateTime64(3, 'UTC'),
    `user_id` String,
    `account` String,
    `client_version` String,
    `terminal_type` String,
    `os_type` String,
    `models` Array(String),
    `events` Float64,
    `prompts` Float64,
    `commands` Float64,
    `background_reports` Float64,
    `subagents` Float64,
    `requests` Float64,
    `api_errors` Float64,
    `refusals` Float64,
    `compactions` Float64,
    `tool_calls` Float64,
    `tool_failures` Float64,
    `edits` Float64,
    `failed_edits` Float64,
    `edits_by_prompt` Array(Float64),
    `approved` Float64,
    `rejected` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `stored_events` UInt64,
    `session_weight` Float64,
    `counts_as` Float64
)
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
    sumIf(e.weight, (e.event = 'user_prompt') AND (e.command_name != '')) AS commands,
    sumIf(e.weight, (e.event = 'subagent_completed') AND ((e.extra['is_async']) = 'true')) AS background_reports,
    sumIf(e.weight, e.event = 'subagent_completed') AS subagents,
    sumIf(e.weight, e.event = 'api_request') AS requests,
    sumIf(e.weight, e.event = 'api_error') AS api_errors,
    sumIf(e.weight, e.event = 'api_refusal') AS refusals,
    sumIf(e.weight, e.event = 'compaction') AS compactions,
    sumIf(e.weight, e.event = 'tool_result') AS tool_calls,
    sumIf(e.weight, (e.event = 'tool_result') AND (e.success = false)) AS tool_failures,
    sumIf(e.weight, (e.event = 'tool_result') AND e.success AND (e.tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit'))) AS edits,
    sumIf(e.weight, (e.event = 'tool_result') AND (e.success = false) AND (e.tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit'))) AS failed_edits,
    mapValues(sumMapIf(map(e.prompt_id, e.weight), (e.event = 'tool_result') AND e.success AND (e.prompt_id != '') AND (e.tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit')))) AS edits_by_prompt,
    sumIf(e.weight, (e.event_type = 'validation_result') AND (e.decision = 'accept')) AS approved,
    sumIf(e.weight, (e.event_type = 'validation_result') AND (e.decision = 'reject')) AS rejected,
    CAST(sumIf(e.cost_usd * toDecimal128(e.weight, 6), e.event = 'api_request'), 'Nullable(Decimal(38, 9))') AS cost_usd,
    sumIf(e.input_tokens * e.weight, e.event = 'api_request') AS input_tokens,
    sumIf(e.output_tokens * e.weight, e.event = 'api_request') AS output_tokens,
    sumIf(e.cache_read_tokens * e.weight, e.event = 'api_request') AS cache_read_tokens,
    sumIf(e.cache_creation_tokens * e.weight, e.event = 'api_request') AS cache_creation_tokens,
    count() AS stored_events,
    max(e.session_weight) AS session_weight,
    multiIf((session_id = '') OR ((((prompts + requests) + api_errors) + tool_calls) = 0), 0, (requests + api_errors) > 0, 1, session_weight) AS counts_as
FROM telemetry.telemetry_events AS e
FINAL
ANY LEFT JOIN telemetry.session_labels AS l
FINAL ON (e.member = l.member) AND (e.session_id = l.session_id)
WHERE e.synthetic = ''
GROUP BY
    day,
    member,
    session_id,
    team,
    chapter,
    git_branch;

CREATE MATERIALIZED VIEW telemetry.telemetry_events_mv TO telemetry.telemetry_events
(
    `ts` DateTime64(3, 'UTC'),
    `event` String,
    `event_type` String,
    `session_id` String,
    `prompt_id` String,
    `seq` UInt64,
    `record_hash` UInt64,
    `member` String,
    `user_id` String,
    `team` String,
    `chapter` String,
    `git_branch` String,
    `service_name` String,
    `client_version` String,
    `os_type` String,
    `os_version` String,
    `host_arch` String,
    `terminal_type` String,
    `app_entrypoint` String,
    `api_provider` String,
    `api_custom_url` String,
    `model` String,
    `query_source` String,
    `speed` String,
    `effort` String,
    `cost_usd` Nullable(Decimal(18, 9)),
    `input_tokens` Nullable(UInt64),
    `output_tokens` Nullable(UInt64),
    `cache_read_tokens` Nullable(UInt64),
    `cache_creation_tokens` Nullable(UInt64),
    `cache_creation_5m_tokens` Nullable(UInt64),
    `cache_creation_1h_tokens` Nullable(UInt64),
    `duration_ms` Nullable(UInt64),
    `ttft_ms` Nullable(UInt64),
    `request_id` String,
    `attempt` Nullable(UInt32),
    `status_code` Nullable(UInt32),
    `error` String,
    `error_type` String,
    `prompt_length` Nullable(UInt64),
    `response_length` Nullable(UInt64),
    `command_name` String,
    `tool_name` String,
    `tool_use_id` String,
    `tool_source` String,
    `tool_input_size_bytes` Nullable(UInt64),
    `tool_result_size_bytes` Nullable(UInt64),
    `success` Nullable(Bool),
    `decision` String,
    `decision_source` String,
    `permission_mode` String,
    `skill_name` String,
    `agent_name` String,
    `weight` Float64,
    `session_weight` Float64,
    `synthetic` String,
    `extra` Map(LowCardinality(String), String),
    `dropped` Array(String)
)
DEFINER = telemetry_views SQL SECURITY DEFINER
AS WITH
    (
        SELECT groupArray((hash, until))
        FROM telemetry.suppressions
    ) AS purged,
    LogAttributes AS a,
    ResourceAttributes AS r,
    (x -> coalesce(toUInt64OrNull(x), accurateCastOrNull(round(toFloat64OrNull(x)), 'UInt64'))) AS number,
    (k -> if((a[k]) != '', a[k], r[k])) AS context,
    ['session.id', 'user.id', 'prompt.id', 'event.name', 'team', 'chapter', 'git.branch', 'terminal.type', 'app.entrypoint', 'model', 'request_id', 'query_source', 'speed', 'effort', 'error', 'error_type', 'command_name', 'tool_name', 'tool_use_id', 'use_id', 'tool_source', 'decision', 'decision_type', 'source', 'decision_source', 'permission_mode', 'skill.name', 'agent.name', 'agent_type', 'anthropic.provider', 'anthropic.custom_base_url', 'telemetry.record_hash', 'telemetry.synthetic', 'telemetry.dropped', 'telemetry.session_weight', 'telemetry.purge_hash', 'tool_parameters', 'error.message', 'prompt', 'response', 'tool_input'] AS texts,
    ['event.sequence', 'input_tokens', 'output_tokens', 'cache_read_tokens', 'cache_creation_tokens', 'cache_creation_5m_tokens', 'cache_creation_1h_tokens', 'duration_ms', 'ttft_ms', 'attempt', 'status_code', 'response_length', 'prompt_length', 'tool_input_size_bytes', 'tool_result_size_bytes'] AS numbers,
    ['member', 'team', 'chapter', 'git.branch', 'service.name', 'service.version', 'os.type', 'os.version', 'host.arch', 'telemetry.dropped', 'telemetry.purge_hash'] AS context_texts
SELECT
    toDateTime64(Timestamp, 3, 'UTC') AS ts,
    a['event.name'] AS event,
    multiIf(event = 'user_prompt', 'user_prompt', event = 'tool_result', 'tool_call', event = 'api_request', 'api_request', event = 'api_error', 'api_error', (event = 'tool_decision') AND startsWith(a['source'], 'user_'), 'validation_result', 'other') AS event_type,
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
    coalesce(accurateCastOrNull(toDecimal128OrNull(a['cost_usd_micros'], 9) / 1000000, 'Decimal(18, 9)'), accurateCastOrNull(round(toDecimal128OrNull(a['cost_usd'], 24), 9), 'Decimal(18, 9)')) AS cost_usd,
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
    multiIf((a['error_type']) != '', a['error_type'], (event NOT IN ('api_error', 'api_retries_exhausted')), '', status_code = 429, 'rate_limit', status_code = 529, 'overloaded', (status_code IN (401, 403)), 'auth', (status_code >= 400) AND (status_code <= 499), 'invalid_request', status_code >= 500, 'server_error', 'connection') AS error_type,
    number(a['prompt_length']) AS prompt_length,
    number(a['response_length']) AS response_length,
    a['command_name'] AS command_name,
    a['tool_name'] AS tool_name,
    if((a['tool_use_id']) != '', a['tool_use_id'], a['use_id']) AS tool_use_id,
    a['tool_source'] AS tool_source,
    number(a['tool_input_size_bytes']) AS tool_input_size_bytes,
    number(a['tool_result_size_bytes']) AS tool_result_size_bytes,
    multiIf((a['success']) = 'true', true, (a['success']) = 'false', false, NULL) AS success,
    if((a['decision']) != '', a['decision'], a['decision_type']) AS decision,
    if((a['source']) != '', a['source'], a['decision_source']) AS decision_source,
    a['permission_mode'] AS permission_mode,
    a['skill.name'] AS skill_name,
    if((a['agent.name']) != '', a['agent.name'], a['agent_type']) AS agent_name,
    if(toFloat64OrZero(a['weight']) > 0, toFloat64OrZero(a['weight']), 1) AS weight,
    if((a['telemetry.session_weight']) = '', 1, toFloat64OrZero(a['telemetry.session_weight'])) AS session_weight,
    a['telemetry.synthetic'] AS synthetic,
    mapConcat(mapFilter((k, v) -> (NOT has(context_texts, k)), r), mapFilter((k, v) -> ((NOT has(texts, k)) AND (NOT (has(numbers, k) AND (number(v) IS NOT NULL))) AND (NOT ((k IN ('cost_usd', 'cost_usd_micros')) AND (cost_usd IS NOT NULL))) AND (NOT ((k = 'success') AND (v IN ('true', 'false')))) AND (NOT ((k = 'app.version') AND (v = (r['service.version'])))) AND (NOT ((k = 'weight') AND (toFloat64OrZero(v) > 0)))), a)) AS extra,
    arrayFilter(x -> (x != ''), splitByChar(',', concat(a['telemetry.dropped'], ',', r['telemetry.dropped'], ',', ScopeAttributes['telemetry.dropped']))) AS dropped
FROM telemetry.otel_logs_in
WHERE NOT arrayExists(x -> (((x.2) >= toDateTime64(Timestamp, 3, 'UTC')) AND (((x.1) = (ResourceAttributes['telemetry.purge_hash'])) OR ((x.1) = (LogAttributes['telemetry.purge_hash'])))), purged);

CREATE VIEW telemetry.tools_daily
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `tool_name` LowCardinality(String),
    `calls` Float64,
    `failures` Float64,
    `accepted_by_rule` Float64,
    `rejected_by_rule` Float64,
    `accepted_by_person` Float64,
    `rejected_by_person` Float64,
    `result_bytes` Nullable(Float64),
    `duration_ms` Nullable(Float64)
)
AS WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.tools_daily_store
            LIMIT 1
        )
    ) AS refreshed
SELECT * EXCEPT refreshed_at
FROM telemetry.tools_daily_store
WHERE day NOT IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)
UNION ALL
WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.tools_daily_store
            LIMIT 1
        )
    ) AS refreshed
SELECT
    toDate(e.ts) AS day,
    e.member AS member,
    e.team AS team,
    if(l.chapter = '', e.chapter, l.chapter) AS chapter,
    e.tool_name AS tool_name,
    sumIf(e.weight, e.event = 'tool_result') AS calls,
    sumIf(e.weight, (e.event = 'tool_result') AND (e.success = false)) AS failures,
    sumIf(e.weight, (e.event = 'tool_decision') AND (e.decision = 'accept') AND (NOT startsWith(e.decision_source, 'user_'))) AS accepted_by_rule,
    sumIf(e.weight, (e.event = 'tool_decision') AND (e.decision = 'reject') AND (NOT startsWith(e.decision_source, 'user_'))) AS rejected_by_rule,
    sumIf(e.weight, (e.event = 'tool_decision') AND (e.decision = 'accept') AND startsWith(e.decision_source, 'user_')) AS accepted_by_person,
    sumIf(e.weight, (e.event = 'tool_decision') AND (e.decision = 'reject') AND startsWith(e.decision_source, 'user_')) AS rejected_by_person,
    sumIf(e.tool_result_size_bytes * e.weight, e.event = 'tool_result') AS result_bytes,
    sumIf(e.duration_ms * e.weight, e.event = 'tool_result') AS duration_ms
FROM telemetry.telemetry_events AS e
FINAL
ANY LEFT JOIN telemetry.session_labels AS l
FINAL ON (e.member = l.member) AND (e.session_id = l.session_id)
WHERE (toDate(e.ts) IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)) AND (e.synthetic = '') AND (e.event IN ('tool_result', 'tool_decision'))
GROUP BY
    day,
    member,
    team,
    chapter,
    tool_name;

CREATE VIEW telemetry.tools_daily_now
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `tool_name` LowCardinality(String),
    `calls` Float64,
    `failures` Float64,
    `accepted_by_rule` Float64,
    `rejected_by_rule` Float64,
    `accepted_by_person` Float64,
    `rejected_by_person` Float64,
    `result_bytes` Nullable(Float64),
    `duration_ms` Nullable(Float64)
)
AS SELECT
    toDate(e.ts) AS day,
    e.member AS member,
    e.team AS team,
    if(l.chapter = '', e.chapter, l.chapter) AS chapter,
    e.tool_name AS tool_name,
    sumIf(e.weight, e.event = 'tool_result') AS calls,
    sumIf(e.weight, (e.event = 'tool_result') AND (e.success = false)) AS failures,
    sumIf(e.weight, (e.event = 'tool_decision') AND (e.decision = 'accept') AND (NOT startsWith(e.decision_source, 'user_'))) AS accepted_by_rule,
    sumIf(e.weight, (e.event = 'tool_decision') AND (e.decision = 'reject') AND (NOT startsWith(e.decision_source, 'user_'))) AS rejected_by_rule,
    sumIf(e.weight, (e.event = 'tool_decision') AND (e.decision = 'accept') AND startsWith(e.decision_source, 'user_')) AS accepted_by_person,
    sumIf(e.weight, (e.event = 'tool_decision') AND (e.decision = 'reject') AND startsWith(e.decision_source, 'user_')) AS rejected_by_person,
    sumIf(e.tool_result_size_bytes * e.weight, e.event = 'tool_result') AS result_bytes,
    sumIf(e.duration_ms * e.weight, e.event = 'tool_result') AS duration_ms
FROM telemetry.telemetry_events AS e
FINAL
ANY LEFT JOIN telemetry.session_labels AS l
FINAL ON (e.member = l.member) AND (e.session_id = l.session_id)
WHERE (e.synthetic = '') AND (e.event IN ('tool_result', 'tool_decision'))
GROUP BY
    day,
    member,
    team,
    chapter,
    tool_name;

CREATE MATERIALIZED VIEW telemetry.touched_days_metrics_mv TO telemetry.touched_days
(
    `day` Date,
    `at` DateTime
)
DEFINER = telemetry_views SQL SECURITY DEFINER
AS SELECT DISTINCT
    toDate(ts) AS day,
    now() AS at
FROM telemetry.metric_points;

CREATE MATERIALIZED VIEW telemetry.touched_days_mv TO telemetry.touched_days
(
    `day` Date,
    `at` DateTime
)
DEFINER = telemetry_views SQL SECURITY DEFINER
AS SELECT DISTINCT
    toDate(ts) AS day,
    now() AS at
FROM telemetry.telemetry_events;

CREATE VIEW telemetry.usage_daily
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `git_branch` LowCardinality(String),
    `model` LowCardinality(String),
    `query_source` LowCardinality(String),
    `agent_name` LowCardinality(String),
    `speed` LowCardinality(String),
    `client_version` LowCardinality(String),
    `requests` Float64,
    `requests_without_cost` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `cache_creation_5m_tokens` Nullable(Float64),
    `cache_creation_1h_tokens` Nullable(Float64),
    `cache_creation_untold_tokens` Float64,
    `duration_ms` Nullable(Float64)
)
AS WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.usage_daily_store
            LIMIT 1
        )
    ) AS refreshed
SELECT * EXCEPT refreshed_at
FROM telemetry.usage_daily_store
WHERE day NOT IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)
UNION ALL
WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.usage_daily_store
            LIMIT 1
        )
    ) AS refreshed
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
    ifNull(sumIf((e.cache_creation_tokens - ifNull(e.cache_creation_1h_tokens, 0)) * e.weight, e.cache_creation_5m_tokens IS NULL), 0) AS cache_creation_untold_tokens,
    sum(e.duration_ms * e.weight) AS duration_ms
FROM telemetry.telemetry_events AS e
FINAL
ANY LEFT JOIN telemetry.session_labels AS l
FINAL ON (e.member = l.member) AND (e.session_id = l.session_id)
WHERE (toDate(e.ts) IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)) AND (e.synthetic = '') AND (e.event = 'api_request')
GROUP BY
    day,
    member,
    team,
    chapter,
    git_branch,
    model,
    query_source,
    agent_name,
    speed,
    client_version;

CREATE VIEW telemetry.usage_daily_now
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `git_branch` LowCardinality(String),
    `model` LowCardinality(String),
    `query_source` LowCardinality(String),
    `agent_name` LowCardinality(String),
    `speed` LowCardinality(String),
    `client_version` LowCardinality(String),
    `requests` Float64,
    `requests_without_cost` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `cache_creation_5m_tokens` Nullable(Float64),
    `cache_creation_1h_tokens` Nullable(Float64),
    `cache_creation_untold_tokens` Float64,
    `duration_ms` Nullable(Float64)
)
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
    ifNull(sumIf((e.cache_creation_tokens - ifNull(e.cache_creation_1h_tokens, 0)) * e.weight, e.cache_creation_5m_tokens IS NULL), 0) AS cache_creation_untold_tokens,
    sum(e.duration_ms * e.weight) AS duration_ms
FROM telemetry.telemetry_events AS e
FINAL
ANY LEFT JOIN telemetry.session_labels AS l
FINAL ON (e.member = l.member) AND (e.session_id = l.session_id)
WHERE (e.synthetic = '') AND (e.event = 'api_request')
GROUP BY
    day,
    member,
    team,
    chapter,
    git_branch,
    model,
    query_source,
    agent_name,
    speed,
    client_version;

CREATE VIEW telemetry.validations
(
    `ts` DateTime64(3, 'UTC'),
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `team` String,
    `chapter` String,
    `tool_name` String,
    `permission_mode` String,
    `decision_source` String,
    `outcome` String,
    `weight` Float64
)
AS WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.validations_store
            LIMIT 1
        )
    ) AS refreshed
SELECT * EXCEPT refreshed_at
FROM telemetry.validations_store
WHERE day NOT IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)
UNION ALL
WITH
    (
        SELECT max(refreshed_at)
        FROM
        (
            SELECT refreshed_at
            FROM telemetry.validations_store
            LIMIT 1
        )
    ) AS refreshed
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
        groupArrayIf(CAST((e.ts, e.team, if(l.chapter = '', e.chapter, l.chapter), e.tool_name, e.permission_mode, e.decision, e.decision_source, e.weight), 'Tuple(ts DateTime64(3, \'UTC\'), team LowCardinality(String), chapter LowCardinality(String), tool_name LowCardinality(String), permission_mode LowCardinality(String), decision LowCardinality(String), decision_source LowCardinality(String), weight Float64)'), e.event_type = 'validation_result') AS decisions,
        maxIf(e.ts, (e.event = 'user_prompt') AND (e.command_name NOT IN ('exit', 'quit', 'clear'))) AS last_prompt
    FROM telemetry.telemetry_events AS e
    FINAL
    ANY LEFT JOIN telemetry.session_labels AS l
    FINAL ON (e.member = l.member) AND (e.session_id = l.session_id)
    WHERE (toDate(e.ts) IN (
        SELECT day
        FROM telemetry.touched_days
        WHERE (at + 120) >= refreshed
    )) AND (e.synthetic = '') AND (e.event_type IN ('validation_result', 'user_prompt'))
    GROUP BY
        member,
        session_id
    HAVING notEmpty(decisions)
)
ARRAY JOIN decisions AS d;

CREATE VIEW telemetry.validations_now
(
    `ts` DateTime64(3, 'UTC'),
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `team` String,
    `chapter` String,
    `tool_name` String,
    `permission_mode` String,
    `decision_source` String,
    `outcome` String,
    `weight` Float64
)
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
        groupArrayIf(CAST((e.ts, e.team, if(l.chapter = '', e.chapter, l.chapter), e.tool_name, e.permission_mode, e.decision, e.decision_source, e.weight), 'Tuple(ts DateTime64(3, \'UTC\'), team LowCardinality(String), chapter LowCardinality(String), tool_name LowCardinality(String), permission_mode LowCardinality(String), decision LowCardinality(String), decision_source LowCardinality(String), weight Float64)'), e.event_type = 'validation_result') AS decisions,
        maxIf(e.ts, (e.event = 'user_prompt') AND (e.command_name NOT IN ('exit', 'quit', 'clear'))) AS last_prompt
    FROM telemetry.telemetry_events AS e
    FINAL
    ANY LEFT JOIN telemetry.session_labels AS l
    FINAL ON (e.member = l.member) AND (e.session_id = l.session_id)
    WHERE (e.synthetic = '') AND (e.event_type IN ('validation_result', 'user_prompt'))
    GROUP BY
        member,
        session_id
    HAVING notEmpty(decisions)
)
ARRAY JOIN decisions AS d;

CREATE VIEW telemetry_team.budget
(
    `monthly_usd` Decimal(18, 2)
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT monthly_usd
FROM telemetry.budget;

CREATE VIEW telemetry_team.cohort_floor
(
    `members` UInt64
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT members
FROM telemetry.cohort_floor;

CREATE VIEW telemetry_team.prices
(
    `model` String,
    `since` Date,
    `input` Nullable(Decimal(18, 6)),
    `output` Nullable(Decimal(18, 6)),
    `cache_write_5m` Nullable(Decimal(18, 6)),
    `cache_write_1h` Nullable(Decimal(18, 6)),
    `cache_read` Nullable(Decimal(18, 6))
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    model,
    since,
    input,
    output,
    cache_write_5m,
    cache_write_1h,
    cache_read
FROM telemetry.prices;

CREATE VIEW telemetry_team.sessions_daily
(
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `team` LowCardinality(String),
    `chapter` LowCardinality(String),
    `git_branch` LowCardinality(String),
    `requests` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64)
)
AS SELECT
    day,
    member,
    '' AS session_id,
    team,
    chapter,
    git_branch,
    requests,
    cost_usd,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_creation_tokens
FROM telemetry_team.usage_daily;

CREATE MATERIALIZED VIEW telemetry.active_daily_refresh
REFRESH EVERY 10 MINUTE TO telemetry.active_daily_store
(
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `active_s` Float64,
    `refreshed_at` DateTime
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    *,
    now() AS refreshed_at
FROM telemetry.active_daily_now;

CREATE MATERIALIZED VIEW telemetry.activity_hourly_refresh
REFRESH EVERY 10 MINUTE TO telemetry.activity_hourly_store
(
    `day` Date,
    `hour` DateTime('UTC'),
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `events` Float64,
    `prompts` Float64,
    `requests` Float64,
    `tool_calls` Float64,
    `failures` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `refreshed_at` DateTime
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    *,
    now() AS refreshed_at
FROM telemetry.activity_hourly_now;

CREATE VIEW telemetry.daily_metrics
(
    `day` Date,
    `team` LowCardinality(String),
    `chapter` String,
    `members` UInt64,
    `sessions` UInt64,
    `prompts` Float64,
    `requests` Float64,
    `api_errors` Float64,
    `tool_calls` Float64,
    `tool_failures` Float64,
    `edits` Float64,
    `approved` Float64,
    `rejected` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64)
)
AS WITH
    (
        SELECT max(written_at)
        FROM telemetry.daily_metrics_kept
    ) AS refreshed,
    today() - (
        SELECT events_days
        FROM telemetry.retention
    ) AS oldest
SELECT * EXCEPT (version, written_at)
FROM telemetry.daily_metrics_kept
FINAL
WHERE if(day > oldest, (written_at = refreshed) AND (day NOT IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
)), (day > toDate(0)) AND ((day, written_at) IN (
    SELECT
        day,
        max(written_at)
    FROM telemetry.daily_metrics_kept
    GROUP BY day
)))
UNION ALL
WITH
    (
        SELECT max(written_at)
        FROM telemetry.daily_metrics_kept
    ) AS refreshed,
    today() - (
        SELECT events_days
        FROM telemetry.retention
    ) AS oldest
SELECT
    day,
    team,
    chapter,
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
WHERE (day > oldest) AND (day IN (
    SELECT day
    FROM telemetry.touched_days
    WHERE (at + 120) >= refreshed
))
GROUP BY
    day,
    team,
    chapter;

CREATE VIEW telemetry.daily_metrics_now
(
    `day` Date,
    `team` LowCardinality(String),
    `chapter` String,
    `members` UInt64,
    `sessions` UInt64,
    `prompts` Float64,
    `requests` Float64,
    `api_errors` Float64,
    `tool_calls` Float64,
    `tool_failures` Float64,
    `edits` Float64,
    `approved` Float64,
    `rejected` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64)
)
AS SELECT
    day,
    team,
    chapter,
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
WHERE day > (today() - (
    SELECT events_days
    FROM telemetry.retention
))
GROUP BY
    day,
    team,
    chapter;

CREATE MATERIALIZED VIEW telemetry.durations_daily_refresh
REFRESH EVERY 10 MINUTE TO telemetry.durations_daily_store
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `event` LowCardinality(String),
    `model` LowCardinality(String),
    `tool_name` LowCardinality(String),
    `about_ms` Nullable(UInt64),
    `events` Float64,
    `duration_ms` Nullable(Float64),
    `refreshed_at` DateTime
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    *,
    now() AS refreshed_at
FROM telemetry.durations_daily_now;

CREATE MATERIALIZED VIEW telemetry.errors_daily_refresh
REFRESH EVERY 10 MINUTE TO telemetry.errors_daily_store
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `event` LowCardinality(String),
    `model` LowCardinality(String),
    `tool_name` LowCardinality(String),
    `error_type` LowCardinality(String),
    `status_code` Nullable(UInt32),
    `error` String,
    `errors` Float64,
    `last_ts` DateTime64(3, 'UTC'),
    `refreshed_at` DateTime
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    *,
    now() AS refreshed_at
FROM telemetry.errors_daily_now;

CREATE VIEW telemetry.labelled_events
(
    `ts` DateTime64(3, 'UTC'),
    `event` LowCardinality(String),
    `event_type` LowCardinality(String),
    `session_id` String,
    `prompt_id` String,
    `seq` UInt64,
    `record_hash` UInt64,
    `member` LowCardinality(String),
    `user_id` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `git_branch` LowCardinality(String),
    `service_name` LowCardinality(String),
    `client_version` LowCardinality(String),
    `os_type` LowCardinality(String),
    `os_version` LowCardinality(String),
    `host_arch` LowCardinality(String),
    `terminal_type` LowCardinality(String),
    `app_entrypoint` LowCardinality(String),
    `api_provider` LowCardinality(String),
    `api_custom_url` LowCardinality(String),
    `model` LowCardinality(String),
    `query_source` LowCardinality(String),
    `speed` LowCardinality(String),
    `effort` LowCardinality(String),
    `cost_usd` Nullable(Decimal(18, 9)),
    `input_tokens` Nullable(UInt64),
    `output_tokens` Nullable(UInt64),
    `cache_read_tokens` Nullable(UInt64),
    `cache_creation_tokens` Nullable(UInt64),
    `cache_creation_5m_tokens` Nullable(UInt64),
    `cache_creation_1h_tokens` Nullable(UInt64),
    `duration_ms` Nullable(UInt64),
    `ttft_ms` Nullable(UInt64),
    `request_id` String,
    `attempt` Nullable(UInt32),
    `status_code` Nullable(UInt32),
    `error` String,
    `error_type` LowCardinality(String),
    `prompt_length` Nullable(UInt64),
    `response_length` Nullable(UInt64),
    `command_name` LowCardinality(String),
    `tool_name` LowCardinality(String),
    `tool_use_id` String,
    `tool_source` LowCardinality(String),
    `tool_input_size_bytes` Nullable(UInt64),
    `tool_result_size_bytes` Nullable(UInt64),
    `success` Nullable(Bool),
    `decision` LowCardinality(String),
    `decision_source` LowCardinality(String),
    `permission_mode` LowCardinality(String),
    `skill_name` LowCardinality(String),
    `agent_name` LowCardinality(String),
    `weight` Float64,
    `synthetic` LowCardinality(String),
    `extra` Map(LowCardinality(String), String),
    `stored_at` DateTime
)
AS SELECT e.* REPLACE (if(l.chapter = '', e.chapter, l.chapter) AS chapter)
FROM telemetry.telemetry_events AS e
FINAL
ANY LEFT JOIN telemetry.labels AS l ON (e.member = l.member) AND (e.session_id = l.session_id)
WHERE e.synthetic = '';

CREATE VIEW telemetry.member_daily
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `sessions` UInt64,
    `prompts` Float64,
    `requests` Float64,
    `api_errors` Float64,
    `tool_calls` Float64,
    `tool_failures` Float64,
    `approved` Float64,
    `rejected` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64)
)
AS SELECT
    day,
    member,
    team,
    chapter,
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
GROUP BY
    day,
    member,
    team,
    chapter;

CREATE VIEW telemetry.retention_held
(
    `class` String,
    `day` Date,
    `rows` UInt64,
    `bytes` UInt64,
    `keep_days` Nullable(UInt8)
)
AS WITH
    held AS
    (
        SELECT
            'telemetry_events' AS `table`,
            toDate(ts) AS day,
            count() AS rows
        FROM telemetry.telemetry_events
        GROUP BY day
        UNION ALL
        SELECT
            'metric_points' AS `table`,
            toDate(ts) AS day,
            count() AS rows
        FROM telemetry.metric_points
        GROUP BY day
        UNION ALL
        SELECT
            'event_content' AS `table`,
            toDate(ts) AS day,
            count() AS rows
        FROM telemetry.event_content
        GROUP BY day
        UNION ALL
        SELECT
            'session_labels' AS `table`,
            toDate(labelled_at) AS day,
            count() AS rows
        FROM telemetry.session_labels
        GROUP BY day
        UNION ALL
        SELECT
            'usage_daily_store' AS `table`,
            day,
            count() AS rows
        FROM telemetry.usage_daily_store
        GROUP BY day
        UNION ALL
        SELECT
            'tools_daily_store' AS `table`,
            day,
            count() AS rows
        FROM telemetry.tools_daily_store
        GROUP BY day
        UNION ALL
        SELECT
            'errors_daily_store' AS `table`,
            day,
            count() AS rows
        FROM telemetry.errors_daily_store
        GROUP BY day
        UNION ALL
        SELECT
            'activity_hourly_store' AS `table`,
            day,
            count() AS rows
        FROM telemetry.activity_hourly_store
        GROUP BY day
        UNION ALL
        SELECT
            'durations_daily_store' AS `table`,
            day,
            count() AS rows
        FROM telemetry.durations_daily_store
        GROUP BY day
        UNION ALL
        SELECT
            'sessions_daily_store' AS `table`,
            day,
            count() AS rows
        FROM telemetry.sessions_daily_store
        GROUP BY day
        UNION ALL
        SELECT
            'validations_store' AS `table`,
            day,
            count() AS rows
        FROM telemetry.validations_store
        GROUP BY day
        UNION ALL
        SELECT
            'active_daily_store' AS `table`,
            day,
            count() AS rows
        FROM telemetry.active_daily_store
        GROUP BY day
        UNION ALL
        SELECT
            'daily_metrics_kept' AS `table`,
            day,
            count() AS rows
        FROM telemetry.daily_metrics_kept
        WHERE day > toDate(0)
        GROUP BY day
    ),
    sizes AS
    (
        SELECT
            `table`,
            sum(bytes_on_disk) / sum(rows) AS bytes_a_row
        FROM system.parts
        WHERE (database = 'telemetry') AND active
        GROUP BY `table`
        HAVING sum(rows) > 0
    ),
    transform(`table`, ['telemetry_events', 'metric_points', 'event_content', 'session_labels', 'daily_metrics_kept'], ['events', 'metric points', 'texts', 'labels', 'days of the team'], 'summaries by member') AS what
SELECT
    what AS class,
    h.day AS day,
    sum(h.rows) AS rows,
    toUInt64(sum(h.rows * s.bytes_a_row)) AS bytes,
    any(transform(what, ['metric points', 'texts', 'days of the team'], [(
        SELECT metrics_days
        FROM telemetry.retention
    ), (
        SELECT content_days
        FROM telemetry.retention
    ), 0], (
        SELECT events_days
        FROM telemetry.retention
    ))) AS keep_days
FROM held AS h
ANY LEFT JOIN sizes AS s ON h.`table` = s.`table`
GROUP BY
    class,
    day;

CREATE VIEW telemetry.sessions
(
    `member` LowCardinality(String),
    `session_id` String,
    `started` DateTime64(3, 'UTC'),
    `ended` DateTime64(3, 'UTC'),
    `duration_s` Float64,
    `active_s` Nullable(Float64),
    `team` String,
    `chapter` String,
    `git_branch` String,
    `user_id` String,
    `client_version` String,
    `terminal_type` String,
    `models` Array(String),
    `events` Nullable(UInt64),
    `prompts_by_people` Nullable(Float64),
    `prompts_synthetic` Nullable(Float64),
    `commands` Nullable(Float64),
    `subagents` Nullable(Float64),
    `requests` Float64,
    `api_errors` Float64,
    `refusals` Float64,
    `compactions` Nullable(Float64),
    `tool_calls` Nullable(Float64),
    `tool_failures` Float64,
    `edits` Nullable(Float64),
    `approved` Nullable(Float64),
    `rejected` Nullable(Float64),
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `session_weight` Float64
)
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
    ((sum(s.tool_calls) - tool_failures) / nullIf(session_weight, 0)) + tool_failures AS tool_calls,
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
ANY LEFT JOIN
(
    SELECT
        member,
        session_id,
        toNullable(sum(active_s)) AS active_s
    FROM telemetry.active_daily
    GROUP BY
        member,
        session_id
) AS m ON (s.member = m.member) AND (s.session_id = m.session_id)
WHERE s.session_id != ''
GROUP BY
    member,
    session_id
HAVING (((sum(s.prompts) + sum(s.requests)) + sum(s.api_errors)) + sum(s.tool_calls)) > 0;

CREATE MATERIALIZED VIEW telemetry.sessions_daily_refresh
REFRESH EVERY 10 MINUTE TO telemetry.sessions_daily_store
(
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `team` LowCardinality(String),
    `chapter` String,
    `git_branch` LowCardinality(String),
    `started` DateTime64(3, 'UTC'),
    `ended` DateTime64(3, 'UTC'),
    `user_id` String,
    `account` String,
    `client_version` String,
    `terminal_type` String,
    `os_type` String,
    `models` Array(String),
    `events` Float64,
    `prompts` Float64,
    `commands` Float64,
    `background_reports` Float64,
    `subagents` Float64,
    `requests` Float64,
    `api_errors` Float64,
    `refusals` Float64,
    `compactions` Float64,
    `tool_calls` Float64,
    `tool_failures` Float64,
    `edits` Float64,
    `failed_edits` Float64,
    `edits_by_prompt` Array(Float64),
    `approved` Float64,
    `rejected` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `stored_events` UInt64,
    `session_weight` Float64,
    `counts_as` Float64,
    `refreshed_at` DateTime
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    *,
    now() AS refreshed_at
FROM telemetry.sessions_daily_now;

CREATE MATERIALIZED VIEW telemetry.tools_daily_refresh
REFRESH EVERY 10 MINUTE TO telemetry.tools_daily_store
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `tool_name` LowCardinality(String),
    `calls` Float64,
    `failures` Float64,
    `accepted_by_rule` Float64,
    `rejected_by_rule` Float64,
    `accepted_by_person` Float64,
    `rejected_by_person` Float64,
    `result_bytes` Nullable(Float64),
    `duration_ms` Nullable(Float64),
    `refreshed_at` DateTime
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    *,
    now() AS refreshed_at
FROM telemetry.tools_daily_now;

CREATE MATERIALIZED VIEW telemetry.usage_daily_refresh
REFRESH EVERY 10 MINUTE TO telemetry.usage_daily_store
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `git_branch` LowCardinality(String),
    `model` LowCardinality(String),
    `query_source` LowCardinality(String),
    `agent_name` LowCardinality(String),
    `speed` LowCardinality(String),
    `client_version` LowCardinality(String),
    `requests` Float64,
    `requests_without_cost` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `cache_creation_5m_tokens` Nullable(Float64),
    `cache_creation_1h_tokens` Nullable(Float64),
    `cache_creation_untold_tokens` Float64,
    `duration_ms` Nullable(Float64),
    `refreshed_at` DateTime
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    *,
    now() AS refreshed_at
FROM telemetry.usage_daily_now;

CREATE VIEW telemetry.users
(
    `member` LowCardinality(String),
    `user_id` String,
    `account` String,
    `first_seen` DateTime64(3, 'UTC'),
    `last_seen` DateTime64(3, 'UTC'),
    `sessions` UInt64,
    `client_versions` Array(String)
)
AS SELECT
    member,
    user_id,
    max(account) AS account,
    min(started) AS first_seen,
    max(ended) AS last_seen,
    toUInt64(round(arraySum(mapValues(minMapIf(map(cityHash64(member, session_id), counts_as), counts_as > 0))))) AS sessions,
    arraySort(groupUniqArray(client_version)) AS client_versions
FROM telemetry.sessions_daily
GROUP BY
    member,
    user_id;

CREATE MATERIALIZED VIEW telemetry.validations_refresh
REFRESH EVERY 10 MINUTE TO telemetry.validations_store
(
    `ts` DateTime64(3, 'UTC'),
    `day` Date,
    `member` LowCardinality(String),
    `session_id` String,
    `team` String,
    `chapter` String,
    `tool_name` String,
    `permission_mode` String,
    `decision_source` String,
    `outcome` String,
    `weight` Float64,
    `refreshed_at` DateTime
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    *,
    now() AS refreshed_at
FROM telemetry.validations_now;

CREATE MATERIALIZED VIEW telemetry_team.active_daily_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.active_daily
(
    `day` Date,
    `member` String,
    `session_id` String,
    `team` LowCardinality(String),
    `active_s` Float64
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (
        SELECT members
        FROM telemetry.cohort_floor
    ) AS fewest
SELECT
    day,
    '' AS member,
    '' AS session_id,
    team,
    active_s
FROM
(
    SELECT
        a.day AS day,
        s.team AS team,
        sum(a.active_s) AS active_s,
        uniqExact(a.member) AS everybody
    FROM telemetry.active_daily AS a
    ANY LEFT JOIN
    (
        SELECT
            day,
            member,
            session_id,
            team
        FROM telemetry.sessions_daily
    ) AS s ON (a.day = s.day) AND (a.member = s.member) AND (a.session_id = s.session_id)
    GROUP BY
        day,
        team
)
WHERE everybody >= fewest;

CREATE MATERIALIZED VIEW telemetry_team.activity_hourly_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.activity_hourly
(
    `day` Date,
    `hour` Nullable(DateTime('UTC')),
    `member` String,
    `team` LowCardinality(String),
    `chapter` String,
    `events` Nullable(Float64),
    `prompts` Nullable(Float64),
    `requests` Float64,
    `tool_calls` Nullable(Float64),
    `failures` Nullable(Float64),
    `cost_usd` Nullable(Decimal(38, 9))
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (
        SELECT members
        FROM telemetry.cohort_floor
    ) AS fewest,
    grouped AS
    (
        SELECT
            s.day AS day,
            s.team AS team,
            s.hour AS hour,
            groupUniqArray(toString(s.member)) AS who,
            sum(s.events) AS events,
            sum(s.prompts) AS prompts,
            sum(s.requests) AS requests,
            sum(s.tool_calls) AS tool_calls,
            sum(s.failures) AS failures,
            sum(s.cost_usd) AS cost_usd
        FROM telemetry.activity_hourly AS s
        GROUP BY
            day,
            team,
            hour
    ),
    days AS
    (
        SELECT
            day,
            team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY
            day,
            team
    )
SELECT
    g.day AS day,
    if((length(g.who) >= fewest) AND ((d.folded = 0) OR (d.folded >= fewest)), toNullable(g.hour), NULL) AS hour,
    '' AS member,
    g.team AS team,
    '' AS chapter,
    if(any(d.everybody) >= fewest, sum(g.events), NULL) AS events,
    if(any(d.everybody) >= fewest, sum(g.prompts), NULL) AS prompts,
    sum(g.requests) AS requests,
    if(any(d.everybody) >= fewest, sum(g.tool_calls), NULL) AS tool_calls,
    if(any(d.everybody) >= fewest, sum(g.failures), NULL) AS failures,
    sum(g.cost_usd) AS cost_usd
FROM grouped AS g
INNER JOIN days AS d ON (g.day = d.day) AND (g.team = d.team)
GROUP BY
    day,
    team,
    hour
HAVING (events > 0) OR (requests > 0);

CREATE MATERIALIZED VIEW telemetry_team.durations_daily_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.durations_daily
(
    `day` Date,
    `member` String,
    `team` LowCardinality(String),
    `event` String,
    `model` String,
    `tool_name` String,
    `about_ms` Nullable(UInt64),
    `events` Float64,
    `duration_ms` Nullable(Float64)
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (
        SELECT members
        FROM telemetry.cohort_floor
    ) AS fewest,
    parts AS
    (
        SELECT
            s.day AS day,
            s.team AS team,
            s.event AS event,
            s.model AS model,
            s.tool_name AS tool_name,
            toInt16(if(s.about_ms IS NULL, -1, if(s.about_ms = 0, 0, 1 + round(log2(s.about_ms))))) AS octave,
            groupUniqArray(toString(s.member)) AS who,
            sum(s.events) AS events,
            sum(s.duration_ms) AS duration_ms
        FROM telemetry.durations_daily AS s
        GROUP BY
            day,
            team,
            event,
            model,
            tool_name,
            octave
    ),
    grouped AS
    (
        SELECT
            day,
            team,
            event,
            model,
            tool_name,
            groupUniqArrayArray(parts.who) AS who,
            length(groupUniqArrayArrayIf(parts.who, length(parts.who) < fewest)) AS folded_parts
        FROM parts
        GROUP BY
            day,
            team,
            event,
            model,
            tool_name
    ),
    days AS
    (
        SELECT
            day,
            team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY
            day,
            team
    )
SELECT
    p.day AS day,
    '' AS member,
    p.team AS team,
    if(((length(g.who) >= fewest) AND ((d.folded = 0) OR (d.folded >= fewest))) AS group_shown, toString(p.event), '(under floor)') AS event,
    if(group_shown, toString(p.model), '') AS model,
    if(group_shown, toString(p.tool_name), '') AS tool_name,
    multiIf((if((group_shown AND (length(p.who) >= fewest) AND ((g.folded_parts = 0) OR (g.folded_parts >= fewest))) AS part_shown, p.octave, -2) AS octave_shown) = -1, NULL, octave_shown = 0, 0, octave_shown > 0, toUInt64(exp2(octave_shown - 1)), toUInt64(round(sum(p.duration_ms) / sum(p.events)))) AS about_ms,
    sum(p.events) AS events,
    sum(p.duration_ms) AS duration_ms
FROM parts AS p
INNER JOIN grouped AS g ON (p.day = g.day) AND (p.team = g.team) AND (p.event = g.event) AND (p.model = g.model) AND (p.tool_name = g.tool_name)
INNER JOIN days AS d ON (p.day = d.day) AND (p.team = d.team)
WHERE d.everybody >= fewest
GROUP BY
    day,
    team,
    event,
    model,
    tool_name,
    octave_shown;

CREATE MATERIALIZED VIEW telemetry_team.errors_daily_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.errors_daily
(
    `day` Date,
    `member` String,
    `team` LowCardinality(String),
    `chapter` String,
    `event` String,
    `model` String,
    `tool_name` String,
    `error_type` String,
    `status_code` Nullable(UInt32),
    `error` String,
    `errors` Float64,
    `last_ts` DateTime64(3, 'UTC')
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (
        SELECT members
        FROM telemetry.cohort_floor
    ) AS fewest,
    parts AS
    (
        SELECT
            s.day AS day,
            s.team AS team,
            s.event AS event,
            s.tool_name AS tool_name,
            s.error_type AS error_type,
            s.status_code AS status_code,
            s.error AS error,
            groupUniqArray(toString(s.member)) AS who,
            sum(s.errors) AS errors
        FROM telemetry.errors_daily AS s
        GROUP BY
            day,
            team,
            event,
            tool_name,
            error_type,
            status_code,
            error
    ),
    grouped AS
    (
        SELECT
            day,
            team,
            event,
            tool_name,
            error_type,
            groupUniqArrayArray(parts.who) AS who,
            length(groupUniqArrayArrayIf(parts.who, length(parts.who) < fewest)) AS folded_parts
        FROM parts
        GROUP BY
            day,
            team,
            event,
            tool_name,
            error_type
    ),
    days AS
    (
        SELECT
            day,
            team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY
            day,
            team
    )
SELECT
    p.day AS day,
    '' AS member,
    p.team AS team,
    '' AS chapter,
    if(((length(g.who) >= fewest) AND ((d.folded = 0) OR (d.folded >= fewest))) AS group_shown, toString(p.event), '(under floor)') AS event,
    '' AS model,
    if(group_shown, toString(p.tool_name), '') AS tool_name,
    if(group_shown, toString(p.error_type), '') AS error_type,
    if((group_shown AND (length(p.who) >= fewest) AND ((g.folded_parts = 0) OR (g.folded_parts >= fewest))) AS part_shown, p.status_code, NULL) AS status_code,
    if(part_shown, p.error, '(under floor)') AS error,
    sum(p.errors) AS errors,
    toDateTime64(p.day, 3, 'UTC') AS last_ts
FROM parts AS p
INNER JOIN grouped AS g ON (p.day = g.day) AND (p.team = g.team) AND (p.event = g.event) AND (p.tool_name = g.tool_name) AND (p.error_type = g.error_type)
INNER JOIN days AS d ON (p.day = d.day) AND (p.team = d.team)
WHERE d.everybody >= fewest
GROUP BY
    day,
    team,
    event,
    tool_name,
    error_type,
    status_code,
    error;

CREATE VIEW telemetry_team.retention
(
    `events_days` UInt8,
    `metrics_days` UInt8,
    `content_days` UInt8
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    events_days,
    metrics_days,
    content_days
FROM telemetry.retention;

CREATE MATERIALIZED VIEW telemetry_team.tools_daily_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.tools_daily
(
    `day` Date,
    `member` String,
    `team` LowCardinality(String),
    `chapter` String,
    `tool_name` String,
    `calls` Float64,
    `failures` Float64,
    `accepted_by_rule` Float64,
    `rejected_by_rule` Float64,
    `accepted_by_person` Float64,
    `rejected_by_person` Float64,
    `result_bytes` Nullable(Float64),
    `duration_ms` Nullable(Float64)
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (
        SELECT members
        FROM telemetry.cohort_floor
    ) AS fewest,
    grouped AS
    (
        SELECT
            s.day AS day,
            s.team AS team,
            s.tool_name AS tool_name,
            groupUniqArray(toString(s.member)) AS who,
            sum(s.calls) AS calls,
            sum(s.failures) AS failures,
            sum(s.accepted_by_rule) AS accepted_by_rule,
            sum(s.rejected_by_rule) AS rejected_by_rule,
            sum(s.accepted_by_person) AS accepted_by_person,
            sum(s.rejected_by_person) AS rejected_by_person,
            sum(s.result_bytes) AS result_bytes,
            sum(s.duration_ms) AS duration_ms
        FROM telemetry.tools_daily AS s
        GROUP BY
            day,
            team,
            tool_name
    ),
    days AS
    (
        SELECT
            day,
            team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY
            day,
            team
    )
SELECT
    g.day AS day,
    '' AS member,
    g.team AS team,
    '' AS chapter,
    if((length(g.who) >= fewest) AND ((d.folded = 0) OR (d.folded >= fewest)), toString(g.tool_name), '(under floor)') AS tool_name,
    sum(g.calls) AS calls,
    sum(g.failures) AS failures,
    sum(g.accepted_by_rule) AS accepted_by_rule,
    sum(g.rejected_by_rule) AS rejected_by_rule,
    sum(g.accepted_by_person) AS accepted_by_person,
    sum(g.rejected_by_person) AS rejected_by_person,
    sum(g.result_bytes) AS result_bytes,
    sum(g.duration_ms) AS duration_ms
FROM grouped AS g
INNER JOIN days AS d ON (g.day = d.day) AND (g.team = d.team)
WHERE d.everybody >= fewest
GROUP BY
    day,
    team,
    tool_name;

CREATE MATERIALIZED VIEW telemetry_team.usage_daily_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.usage_daily
(
    `day` Date,
    `member` LowCardinality(String),
    `team` LowCardinality(String),
    `chapter` String,
    `git_branch` String,
    `model` LowCardinality(String),
    `query_source` String,
    `agent_name` String,
    `speed` LowCardinality(String),
    `client_version` String,
    `requests` Float64,
    `requests_without_cost` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `cache_creation_5m_tokens` Nullable(Float64),
    `cache_creation_1h_tokens` Nullable(Float64),
    `cache_creation_untold_tokens` Float64
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    u.day AS day,
    u.member AS member,
    u.team AS team,
    u.chapter AS chapter,
    '(not shown)' AS git_branch,
    u.model AS model,
    '(not shown)' AS query_source,
    '(not shown)' AS agent_name,
    u.speed AS speed,
    '(not shown)' AS client_version,
    sum(u.requests) AS requests,
    sum(u.requests_without_cost) AS requests_without_cost,
    sum(u.cost_usd) AS cost_usd,
    sum(u.input_tokens) AS input_tokens,
    sum(u.output_tokens) AS output_tokens,
    sum(u.cache_read_tokens) AS cache_read_tokens,
    sum(u.cache_creation_tokens) AS cache_creation_tokens,
    sum(u.cache_creation_5m_tokens) AS cache_creation_5m_tokens,
    sum(u.cache_creation_1h_tokens) AS cache_creation_1h_tokens,
    sum(u.cache_creation_untold_tokens) AS cache_creation_untold_tokens
FROM telemetry.usage_daily AS u
GROUP BY
    day,
    member,
    team,
    chapter,
    model,
    speed;

CREATE MATERIALIZED VIEW telemetry_team.validations_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.validations
(
    `day` Date,
    `member` String,
    `team` String,
    `ts` DateTime64(3, 'UTC'),
    `session_id` String,
    `chapter` String,
    `tool_name` String,
    `permission_mode` String,
    `decision_source` String,
    `outcome` String,
    `weight` Float64
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (
        SELECT members
        FROM telemetry.cohort_floor
    ) AS fewest,
    parts AS
    (
        SELECT
            s.day AS day,
            s.team AS team,
            s.tool_name AS tool_name,
            s.outcome AS outcome,
            groupUniqArray(toString(s.member)) AS who,
            sum(s.weight) AS weight
        FROM telemetry.validations AS s
        GROUP BY
            day,
            team,
            tool_name,
            outcome
    ),
    grouped AS
    (
        SELECT
            day,
            team,
            tool_name,
            groupUniqArrayArray(parts.who) AS who,
            length(groupUniqArrayArrayIf(parts.who, length(parts.who) < fewest)) AS folded_parts
        FROM parts
        GROUP BY
            day,
            team,
            tool_name
    ),
    days AS
    (
        SELECT
            day,
            team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY
            day,
            team
    )
SELECT
    p.day AS day,
    '' AS member,
    p.team AS team,
    toDateTime64(p.day, 3, 'UTC') AS ts,
    '' AS session_id,
    '' AS chapter,
    if(((length(g.who) >= fewest) AND ((d.folded = 0) OR (d.folded >= fewest))) AS group_shown, toString(p.tool_name), '(under floor)') AS tool_name,
    '' AS permission_mode,
    '' AS decision_source,
    if((group_shown AND (length(p.who) >= fewest) AND ((g.folded_parts = 0) OR (g.folded_parts >= fewest))) AS part_shown, p.outcome, '(under floor)') AS outcome,
    sum(p.weight) AS weight
FROM parts AS p
INNER JOIN grouped AS g ON (p.day = g.day) AND (p.team = g.team) AND (p.tool_name = g.tool_name)
INNER JOIN days AS d ON (p.day = d.day) AND (p.team = d.team)
WHERE d.everybody >= fewest
GROUP BY
    day,
    team,
    tool_name,
    outcome;

CREATE MATERIALIZED VIEW telemetry.daily_metrics_keep
REFRESH EVERY 10 MINUTE APPEND TO telemetry.daily_metrics_kept
(
    `day` Date,
    `team` LowCardinality(String),
    `chapter` String,
    `members` UInt64,
    `sessions` UInt64,
    `prompts` Float64,
    `requests` Float64,
    `api_errors` Float64,
    `tool_calls` Float64,
    `tool_failures` Float64,
    `edits` Float64,
    `approved` Float64,
    `rejected` Float64,
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64),
    `version` DateTime,
    `written_at` DateTime64(3)
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    n.*,
    now() AS version,
    now64(3) AS written_at
FROM system.one AS o
LEFT JOIN telemetry.daily_metrics_now AS n ON true;

CREATE MATERIALIZED VIEW telemetry.retention_reports_keep
REFRESH EVERY 1 HOUR APPEND TO telemetry.retention_reports
(
    `made_at` DateTime,
    `class` String,
    `day` Date,
    `rows` UInt64,
    `bytes` UInt64,
    `keep_days` Nullable(UInt8)
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT
    now() AS made_at,
    class,
    day,
    rows,
    bytes,
    keep_days
FROM
(
    SELECT
        class,
        day,
        rows,
        bytes,
        keep_days
    FROM telemetry.retention_held
    UNION ALL
    SELECT
        '' AS class,
        toDate(0) AS day,
        0 AS rows,
        0 AS bytes,
        0 AS keep_days
)
WHERE (
    SELECT max(made_at)
    FROM telemetry.retention_reports
) < toDateTime(toStartOfWeek(now(), 1));

CREATE MATERIALIZED VIEW telemetry_team.daily_metrics_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.daily_metrics
(
    `day` Date,
    `team` LowCardinality(String),
    `chapter` String,
    `members` UInt64,
    `sessions` Nullable(UInt64),
    `prompts` Nullable(Float64),
    `requests` Float64,
    `api_errors` Nullable(Float64),
    `tool_calls` Nullable(Float64),
    `tool_failures` Nullable(Float64),
    `edits` Nullable(Float64),
    `approved` Nullable(Float64),
    `rejected` Nullable(Float64),
    `cost_usd` Nullable(Decimal(38, 9)),
    `input_tokens` Nullable(Float64),
    `output_tokens` Nullable(Float64),
    `cache_read_tokens` Nullable(Float64),
    `cache_creation_tokens` Nullable(Float64)
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (
        SELECT members
        FROM telemetry.cohort_floor
    ) AS fewest,
    (
        SELECT today() - events_days
        FROM telemetry.retention
    ) AS oldest,
    grouped AS
    (
        SELECT
            day,
            team,
            toString(chapter) AS chapter,
            groupUniqArray(toString(s.member)) AS who,
            uniqExactIf(s.member, s.requests > 0) AS paid_for,
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
        WHERE day > oldest
        GROUP BY
            day,
            team,
            chapter
        UNION ALL
        SELECT
            day,
            team,
            toString(chapter) AS chapter,
            arrayMap(number -> toString(number), range(m.members)) AS who,
            m.members AS paid_for,
            m.sessions,
            m.prompts,
            m.requests,
            m.api_errors,
            m.tool_calls,
            m.tool_failures,
            m.edits,
            m.approved,
            m.rejected,
            m.cost_usd,
            m.input_tokens,
            m.output_tokens,
            m.cache_read_tokens,
            m.cache_creation_tokens
        FROM telemetry.daily_metrics AS m
        WHERE day <= oldest
    ),
    days AS
    (
        SELECT
            day,
            team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY
            day,
            team
    ),
    judged AS
    (
        SELECT
            g.*,
            d.everybody AS everybody,
            (length(g.who) >= fewest) AND ((d.folded = 0) OR (d.folded >= fewest)) AS shown
        FROM grouped AS g
        INNER JOIN days AS d ON (g.day = d.day) AND (g.team = d.team)
    )
SELECT
    day,
    team,
    chapter,
    if(shown, length(j.who), j.paid_for) AS members,
    if(shown, toNullable(j.sessions), NULL) AS sessions,
    if(shown, toNullable(j.prompts), NULL) AS prompts,
    j.requests AS requests,
    if(shown, toNullable(j.api_errors), NULL) AS api_errors,
    if(shown, toNullable(j.tool_calls), NULL) AS tool_calls,
    if(shown, toNullable(j.tool_failures), NULL) AS tool_failures,
    if(shown, toNullable(j.edits), NULL) AS edits,
    if(shown, toNullable(j.approved), NULL) AS approved,
    if(shown, toNullable(j.rejected), NULL) AS rejected,
    j.cost_usd AS cost_usd,
    j.input_tokens AS input_tokens,
    j.output_tokens AS output_tokens,
    j.cache_read_tokens AS cache_read_tokens,
    j.cache_creation_tokens AS cache_creation_tokens
FROM judged AS j
WHERE shown OR (j.requests > 0)
UNION ALL
WITH
    (
        SELECT members
        FROM telemetry.cohort_floor
    ) AS fewest,
    (
        SELECT today() - events_days
        FROM telemetry.retention
    ) AS oldest,
    grouped AS
    (
        SELECT
            day,
            team,
            toString(chapter) AS chapter,
            groupUniqArray(toString(s.member)) AS who,
            uniqExactIf(s.member, s.requests > 0) AS paid_for,
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
        WHERE day > oldest
        GROUP BY
            day,
            team,
            chapter
        UNION ALL
        SELECT
            day,
            team,
            toString(chapter) AS chapter,
            arrayMap(number -> toString(number), range(m.members)) AS who,
            m.members AS paid_for,
            m.sessions,
            m.prompts,
            m.requests,
            m.api_errors,
            m.tool_calls,
            m.tool_failures,
            m.edits,
            m.approved,
            m.rejected,
            m.cost_usd,
            m.input_tokens,
            m.output_tokens,
            m.cache_read_tokens,
            m.cache_creation_tokens
        FROM telemetry.daily_metrics AS m
        WHERE day <= oldest
    ),
    days AS
    (
        SELECT
            day,
            team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY
            day,
            team
    ),
    judged AS
    (
        SELECT
            g.*,
            d.everybody AS everybody,
            (length(g.who) >= fewest) AND ((d.folded = 0) OR (d.folded >= fewest)) AS shown
        FROM grouped AS g
        INNER JOIN days AS d ON (g.day = d.day) AND (g.team = d.team)
    )
SELECT
    day,
    team,
    '(under floor)' AS chapter,
    length(groupUniqArrayArray(j.who)) AS members,
    toNullable(sum(j.sessions)) AS sessions,
    toNullable(sum(j.prompts)) AS prompts,
    0. AS requests,
    toNullable(sum(j.api_errors)) AS api_errors,
    toNullable(sum(j.tool_calls)) AS tool_calls,
    toNullable(sum(j.tool_failures)) AS tool_failures,
    toNullable(sum(j.edits)) AS edits,
    toNullable(sum(j.approved)) AS approved,
    toNullable(sum(j.rejected)) AS rejected,
    NULL AS cost_usd,
    NULL AS input_tokens,
    NULL AS output_tokens,
    NULL AS cache_read_tokens,
    NULL AS cache_creation_tokens
FROM judged AS j
WHERE (NOT shown) AND (j.everybody >= fewest)
GROUP BY
    day,
    team;
