-- What coordinators read: tables with the names of the summaries, in a database of their own.
--
-- Cost and tokens are there by member, for who pays must know. What people did (tools, errors, hours, approvals) is
-- there without members, and under the cohort floor: a group of a day and team that fewer members stand behind is
-- folded into `(under floor)`. Where those that are folded are fewer themselves, everything of that day and team is
-- folded; where that is not enough, what was done that day is left out. Within a group what divides it further (an
-- error's text, a duration) is folded likewise. It is folded when it is written, not when it is read: a view that
-- leaves rows out tells of them by its errors. Rows of two tables may be subtracted from each other, so those of
-- behaviour share no chapter and no model with those of cost.

-- As the settings say, `telemetry up` writes it anew when all files are applied. Until then nothing is shown.
CREATE VIEW IF NOT EXISTS telemetry.cohort_floor AS SELECT toUInt64(1000000) AS members;

CREATE DATABASE IF NOT EXISTS telemetry_team;

CREATE OR REPLACE VIEW telemetry_team.cohort_floor
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT members FROM telemetry.cohort_floor;

CREATE OR REPLACE VIEW telemetry_team.retention
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT events_days, metrics_days, content_days FROM telemetry.retention;

-- `telemetry up` writes what these two show.
CREATE OR REPLACE VIEW telemetry_team.prices
(
    model String,
    since Date,
    input Nullable(Decimal(18, 6)),
    output Nullable(Decimal(18, 6)),
    cache_write_5m Nullable(Decimal(18, 6)),
    cache_write_1h Nullable(Decimal(18, 6)),
    cache_read Nullable(Decimal(18, 6))
)
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT model, since, input, output, cache_write_5m, cache_write_1h, cache_read FROM telemetry.prices;

CREATE OR REPLACE VIEW telemetry_team.budget (monthly_usd Decimal(18, 2))
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS SELECT monthly_usd FROM telemetry.budget;

-- --- usage_daily: what API requests cost, by member

CREATE TABLE IF NOT EXISTS telemetry_team.usage_daily
(
    day Date,
    member LowCardinality(String),
    team LowCardinality(String),
    chapter LowCardinality(String),
    git_branch LowCardinality(String) COMMENT '(not shown)',
    model LowCardinality(String),
    query_source LowCardinality(String) COMMENT '(not shown)',
    agent_name LowCardinality(String) COMMENT '(not shown)',
    speed LowCardinality(String) COMMENT 'Fast mode has another price',
    client_version LowCardinality(String) COMMENT '(not shown)',
    requests Float64,
    requests_without_cost Float64,
    cost_usd Nullable(Decimal(38, 9)),
    input_tokens Nullable(Float64),
    output_tokens Nullable(Float64),
    cache_read_tokens Nullable(Float64),
    cache_creation_tokens Nullable(Float64),
    cache_creation_5m_tokens Nullable(Float64),
    cache_creation_1h_tokens Nullable(Float64),
    cache_creation_untold_tokens Float64
)
ENGINE = MergeTree ORDER BY (day, team, member, chapter, model);

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry_team.usage_daily_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.usage_daily
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
GROUP BY day, member, team, chapter, model, speed;

-- The same by its other name, for questions of cost. Sessions are not shown: every question counts 0 of them.
CREATE OR REPLACE VIEW telemetry_team.sessions_daily
AS SELECT
    day, member, '' AS session_id, team, chapter, git_branch, requests, cost_usd,
    input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens
FROM telemetry_team.usage_daily;

-- --- tools_daily: what tools did, and who allowed it

CREATE TABLE IF NOT EXISTS telemetry_team.tools_daily
(
    day Date,
    member LowCardinality(String) COMMENT 'Empty',
    team LowCardinality(String),
    chapter LowCardinality(String) COMMENT 'Empty',
    tool_name LowCardinality(String) COMMENT 'Or (under floor)',
    calls Float64,
    failures Float64,
    accepted_by_rule Float64,
    rejected_by_rule Float64,
    accepted_by_person Float64,
    rejected_by_person Float64,
    result_bytes Nullable(Float64),
    duration_ms Nullable(Float64)
)
ENGINE = MergeTree ORDER BY (day, team, tool_name);

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry_team.tools_daily_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.tools_daily
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (SELECT members FROM telemetry.cohort_floor) AS fewest,
    grouped AS
    (
        SELECT
            s.day AS day, s.team AS team, s.tool_name AS tool_name,
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
        GROUP BY day, team, tool_name
    ),
    days AS
    (
        SELECT
            day, team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY day, team
    )
SELECT
    g.day AS day,
    '' AS member,
    g.team AS team,
    '' AS chapter,
    if(length(g.who) >= fewest AND (d.folded = 0 OR d.folded >= fewest), toString(g.tool_name), '(under floor)') AS tool_name,
    sum(g.calls) AS calls,
    sum(g.failures) AS failures,
    sum(g.accepted_by_rule) AS accepted_by_rule,
    sum(g.rejected_by_rule) AS rejected_by_rule,
    sum(g.accepted_by_person) AS accepted_by_person,
    sum(g.rejected_by_person) AS rejected_by_person,
    sum(g.result_bytes) AS result_bytes,
    sum(g.duration_ms) AS duration_ms
FROM grouped AS g
INNER JOIN days AS d ON g.day = d.day AND g.team = d.team
WHERE d.everybody >= fewest
GROUP BY day, team, tool_name;

-- --- errors_daily: what failed. A text stands here only where enough members met it.

CREATE TABLE IF NOT EXISTS telemetry_team.errors_daily
(
    day Date,
    member LowCardinality(String) COMMENT 'Empty',
    team LowCardinality(String),
    chapter LowCardinality(String) COMMENT 'Empty',
    event LowCardinality(String) COMMENT 'Or (under floor)',
    model LowCardinality(String) COMMENT 'Empty',
    tool_name LowCardinality(String),
    error_type LowCardinality(String),
    status_code Nullable(UInt32),
    error String COMMENT 'Or (under floor)',
    errors Float64,
    last_ts DateTime64(3, 'UTC') COMMENT 'The day'
)
ENGINE = MergeTree ORDER BY (day, team, event);

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry_team.errors_daily_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.errors_daily
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (SELECT members FROM telemetry.cohort_floor) AS fewest,
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
        GROUP BY day, team, event, tool_name, error_type, status_code, error
    ),
    grouped AS
    (
        SELECT
            day, team, event, tool_name, error_type,
            groupUniqArrayArray(parts.who) AS who,
            length(groupUniqArrayArrayIf(parts.who, length(parts.who) < fewest)) AS folded_parts
        FROM parts
        GROUP BY day, team, event, tool_name, error_type
    ),
    days AS
    (
        SELECT
            day, team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY day, team
    )
SELECT
    p.day AS day,
    '' AS member,
    p.team AS team,
    '' AS chapter,
    if((length(g.who) >= fewest AND (d.folded = 0 OR d.folded >= fewest) AS group_shown), toString(p.event), '(under floor)') AS event,
    '' AS model,
    if(group_shown, toString(p.tool_name), '') AS tool_name,
    if(group_shown, toString(p.error_type), '') AS error_type,
    if((group_shown AND length(p.who) >= fewest AND (g.folded_parts = 0 OR g.folded_parts >= fewest) AS part_shown), p.status_code, NULL) AS status_code,
    if(part_shown, p.error, '(under floor)') AS error,
    sum(p.errors) AS errors,
    toDateTime64(p.day, 3, 'UTC') AS last_ts
FROM parts AS p
INNER JOIN grouped AS g ON p.day = g.day AND p.team = g.team AND p.event = g.event AND p.tool_name = g.tool_name AND p.error_type = g.error_type
INNER JOIN days AS d ON p.day = d.day AND p.team = d.team
WHERE d.everybody >= fewest
GROUP BY day, team, event, tool_name, error_type, status_code, error;

-- --- activity_hourly: when people work. No hour: under the floor; nothing but requests and their cost: left out.

CREATE TABLE IF NOT EXISTS telemetry_team.activity_hourly
(
    day Date,
    hour Nullable(DateTime('UTC')) COMMENT 'Unknown under the floor',
    member LowCardinality(String) COMMENT 'Empty',
    team LowCardinality(String),
    chapter LowCardinality(String) COMMENT 'Empty',
    events Nullable(Float64),
    prompts Nullable(Float64),
    requests Float64,
    tool_calls Nullable(Float64),
    failures Nullable(Float64),
    cost_usd Nullable(Decimal(38, 9))
)
ENGINE = MergeTree ORDER BY (day, team);

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry_team.activity_hourly_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.activity_hourly
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (SELECT members FROM telemetry.cohort_floor) AS fewest,
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
        GROUP BY day, team, hour
    ),
    days AS
    (
        SELECT
            day, team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY day, team
    )
SELECT
    g.day AS day,
    if(length(g.who) >= fewest AND (d.folded = 0 OR d.folded >= fewest), toNullable(g.hour), NULL) AS hour,
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
INNER JOIN days AS d ON g.day = d.day AND g.team = d.team
GROUP BY day, team, hour
HAVING events > 0 OR requests > 0;

-- --- durations_daily: how long API requests and tools took; about_ms is a power of two, or the mean of those folded

CREATE TABLE IF NOT EXISTS telemetry_team.durations_daily
(
    day Date,
    member LowCardinality(String) COMMENT 'Empty',
    team LowCardinality(String),
    event LowCardinality(String) COMMENT 'Or (under floor)',
    model LowCardinality(String),
    tool_name LowCardinality(String),
    about_ms Nullable(UInt64),
    events Float64,
    duration_ms Nullable(Float64)
)
ENGINE = MergeTree ORDER BY (day, team, event);

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry_team.durations_daily_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.durations_daily
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (SELECT members FROM telemetry.cohort_floor) AS fewest,
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
        GROUP BY day, team, event, model, tool_name, octave
    ),
    grouped AS
    (
        SELECT
            day, team, event, model, tool_name,
            groupUniqArrayArray(parts.who) AS who,
            length(groupUniqArrayArrayIf(parts.who, length(parts.who) < fewest)) AS folded_parts
        FROM parts
        GROUP BY day, team, event, model, tool_name
    ),
    days AS
    (
        SELECT
            day, team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY day, team
    )
SELECT
    p.day AS day,
    '' AS member,
    p.team AS team,
    if((length(g.who) >= fewest AND (d.folded = 0 OR d.folded >= fewest) AS group_shown), toString(p.event), '(under floor)') AS event,
    if(group_shown, toString(p.model), '') AS model,
    if(group_shown, toString(p.tool_name), '') AS tool_name,
    multiIf((if((group_shown AND length(p.who) >= fewest AND (g.folded_parts = 0 OR g.folded_parts >= fewest) AS part_shown), p.octave, -2) AS octave_shown) = -1, NULL, octave_shown = 0, 0, octave_shown > 0, toUInt64(exp2(octave_shown - 1)), toUInt64(round(sum(p.duration_ms) / sum(p.events)))) AS about_ms,
    sum(p.events) AS events,
    sum(p.duration_ms) AS duration_ms
FROM parts AS p
INNER JOIN grouped AS g ON p.day = g.day AND p.team = g.team AND p.event = g.event AND p.model = g.model AND p.tool_name = g.tool_name
INNER JOIN days AS d ON p.day = d.day AND p.team = d.team
WHERE d.everybody >= fewest
GROUP BY day, team, event, model, tool_name, octave_shown;

-- --- validations: what people decided when they were asked, by day instead of one by one

CREATE TABLE IF NOT EXISTS telemetry_team.validations
(
    ts DateTime64(3, 'UTC') COMMENT 'The day',
    day Date,
    member LowCardinality(String) COMMENT 'Empty',
    session_id String COMMENT 'Empty',
    team LowCardinality(String),
    chapter LowCardinality(String) COMMENT 'Empty',
    tool_name LowCardinality(String) COMMENT 'Or (under floor)',
    permission_mode LowCardinality(String) COMMENT 'Empty',
    decision_source LowCardinality(String) COMMENT 'Empty',
    outcome String COMMENT 'Or (under floor)',
    weight Float64 COMMENT 'Decisions'
)
ENGINE = MergeTree ORDER BY (day, team, tool_name);

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry_team.validations_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.validations
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (SELECT members FROM telemetry.cohort_floor) AS fewest,
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
        GROUP BY day, team, tool_name, outcome
    ),
    grouped AS
    (
        SELECT
            day, team, tool_name,
            groupUniqArrayArray(parts.who) AS who,
            length(groupUniqArrayArrayIf(parts.who, length(parts.who) < fewest)) AS folded_parts
        FROM parts
        GROUP BY day, team, tool_name
    ),
    days AS
    (
        SELECT
            day, team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY day, team
    )
SELECT
    p.day AS day,
    '' AS member,
    p.team AS team,
    toDateTime64(p.day, 3, 'UTC') AS ts,
    '' AS session_id,
    '' AS chapter,
    if((length(g.who) >= fewest AND (d.folded = 0 OR d.folded >= fewest) AS group_shown), toString(p.tool_name), '(under floor)') AS tool_name,
    '' AS permission_mode,
    '' AS decision_source,
    if((group_shown AND length(p.who) >= fewest AND (g.folded_parts = 0 OR g.folded_parts >= fewest) AS part_shown), p.outcome, '(under floor)') AS outcome,
    sum(p.weight) AS weight
FROM parts AS p
INNER JOIN grouped AS g ON p.day = g.day AND p.team = g.team AND p.tool_name = g.tool_name
INNER JOIN days AS d ON p.day = d.day AND p.team = d.team
WHERE d.everybody >= fewest
GROUP BY day, team, tool_name, outcome;

-- --- active_daily: time of work as the client counts it

CREATE TABLE IF NOT EXISTS telemetry_team.active_daily
(
    day Date,
    member LowCardinality(String) COMMENT 'Empty',
    session_id String COMMENT 'Empty',
    team LowCardinality(String),
    active_s Float64
)
ENGINE = MergeTree ORDER BY (day, team);

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry_team.active_daily_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.active_daily
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH (SELECT members FROM telemetry.cohort_floor) AS fewest
SELECT day, '' AS member, '' AS session_id, team, active_s
FROM
(
    SELECT a.day AS day, s.team AS team, sum(a.active_s) AS active_s, uniqExact(a.member) AS everybody
    FROM telemetry.active_daily AS a
    LEFT ANY JOIN (SELECT day, member, session_id, team FROM telemetry.sessions_daily) AS s
        ON a.day = s.day AND a.member = s.member AND a.session_id = s.session_id
    GROUP BY day, team
)
WHERE everybody >= fewest;

-- --- daily_metrics: cost is there by chapter always, what was done where enough members stand behind it. Of days whose
-- events are gone only the numbers of members are known: the largest group is taken for all who were at work.

CREATE TABLE IF NOT EXISTS telemetry_team.daily_metrics
(
    day Date,
    team LowCardinality(String),
    chapter String COMMENT 'Or (under floor), which has no cost: that is by chapter',
    members UInt64,
    sessions Nullable(UInt64),
    prompts Nullable(Float64),
    requests Float64,
    api_errors Nullable(Float64),
    tool_calls Nullable(Float64),
    tool_failures Nullable(Float64),
    edits Nullable(Float64),
    approved Nullable(Float64),
    rejected Nullable(Float64),
    cost_usd Nullable(Decimal(38, 9)),
    input_tokens Nullable(Float64),
    output_tokens Nullable(Float64),
    cache_read_tokens Nullable(Float64),
    cache_creation_tokens Nullable(Float64)
)
ENGINE = MergeTree ORDER BY (day, team, chapter);

CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry_team.daily_metrics_refresh
REFRESH EVERY 10 MINUTE OFFSET 1 MINUTE TO telemetry_team.daily_metrics
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (SELECT members FROM telemetry.cohort_floor) AS fewest,
    (SELECT today() - events_days FROM telemetry.retention) AS oldest,
    grouped AS
    (
        SELECT
            day, team, toString(chapter) AS chapter,
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
        GROUP BY day, team, chapter
        UNION ALL
        SELECT
            day, team, toString(chapter) AS chapter,
            arrayMap(number -> toString(number), range(m.members)) AS who,
            m.members AS paid_for,
            m.sessions, m.prompts, m.requests, m.api_errors, m.tool_calls, m.tool_failures, m.edits, m.approved, m.rejected,
            m.cost_usd, m.input_tokens, m.output_tokens, m.cache_read_tokens, m.cache_creation_tokens
        FROM telemetry.daily_metrics AS m
        WHERE day <= oldest
    ),
    days AS
    (
        SELECT
            day, team,
            length(groupUniqArrayArray(grouped.who)) AS everybody,
            length(groupUniqArrayArrayIf(grouped.who, length(grouped.who) < fewest)) AS folded
        FROM grouped
        GROUP BY day, team
    ),
    judged AS
    (
        SELECT g.*, d.everybody AS everybody, length(g.who) >= fewest AND (d.folded = 0 OR d.folded >= fewest) AS shown
        FROM grouped AS g
        INNER JOIN days AS d ON g.day = d.day AND g.team = d.team
    )
SELECT
    day, team, chapter,
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
WHERE shown OR j.requests > 0
UNION ALL
SELECT
    day, team, '(under floor)' AS chapter,
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
WHERE NOT shown AND j.everybody >= fewest
GROUP BY day, team;
