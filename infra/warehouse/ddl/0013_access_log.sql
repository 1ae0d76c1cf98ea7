-- The access audit: who asked what, when and from where, what they were refused, and what the edge answered. It is
-- made of the server's own logs, which are kept for a shorter time and, by some engines, in memory only.
--
-- A query is kept as it reads without what people type: without literals, comments and aliases. Names of users that are
-- none of ours are not kept: people type passwords there.

-- A log has no table before it is written for the first time.
SYSTEM FLUSH LOGS;

CREATE TABLE IF NOT EXISTS telemetry.access_log
(
    ts DateTime64(3, 'UTC') COMMENT 'When it ended',
    user LowCardinality(String) COMMENT 'Login: the id of a person; (unknown): none of ours; purged-...: who was purged',
    address String COMMENT 'Where it came from, as the edge saw it',
    interface LowCardinality(String) COMMENT 'HTTP, TCP, ...; empty where the log does not tell',
    action LowCardinality(String) COMMENT 'query; login: a failed one; request: refused before it was a query, such as for a setting',
    kind LowCardinality(String) COMMENT 'Of a query: Select, Insert, Set, ...',
    tables Array(LowCardinality(String)) COMMENT 'That were read or written; empty where it was refused before',
    query String COMMENT 'Without literals, 4,000 characters at most',
    query_hash UInt64 COMMENT 'Same for queries that differ in literals only',
    read_rows UInt64,
    read_bytes UInt64,
    result_rows UInt64 COMMENT 'Rows returned',
    result_bytes UInt64,
    duration_ms UInt64,
    result LowCardinality(String) COMMENT 'ok, denied or failed',
    error_code Int32 COMMENT '0: none, or not known',
    error LowCardinality(String) COMMENT 'Name of the error',
    id UInt64 COMMENT 'Tells one from another of the same time'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (ts, id)
TTL toDateTime(ts) + toIntervalDay(400);

-- Of the last ten minutes before the newest row what is not there yet: a row may reach its log some seconds late.
-- What programs ask as the administrator to see whether the server is well, every few seconds, is left out.
CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.access_log_keep
REFRESH EVERY 1 MINUTE APPEND TO telemetry.access_log
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (SELECT toDateTime(greatest(least(max(ts), now64(3)), toDateTime64('1970-01-05 00:00:00', 3, 'UTC')), 'UTC') - 600 FROM telemetry.access_log) AS since,
    name -> if(match(name, '^(m-[a-z0-9]{10}|telemetry_[a-z]+|default)$'), name, '(unknown)') AS known,
    ip -> replaceOne(toString(ip), '::ffff:', '') AS shown,
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
        WHERE event_date >= toDate(since) AND event_time >= since
            AND type != 'QueryStart' AND is_initial_query AND initial_user != ''
            AND NOT (initial_user = 'telemetry_admin' AND exception_code = 0
                AND arrayAll(each -> each IN ('telemetry.schema_migrations', 'system.one', 'system.settings'), tables))
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
        WHERE event_date >= toDate(since) AND event_time >= since AND type = 'LoginFailure'
    ),
    -- A request logs in, and a query begins. A login that none followed was refused before it was one; the log does not
    -- say what for. A query belongs to the login just before it that has none yet.
    steps AS
    (
        SELECT ifNull(s.user, '') AS user, shown(s.client_address) AS address, s.event_time_microseconds AS at, 0 AS begins
        FROM system.session_log AS s
        WHERE s.event_date >= toDate(since) AND s.event_time >= since AND s.type = 'LoginSuccess'
            AND match(ifNull(s.user, ''), '^m-[a-z0-9]{10}$')
        UNION ALL
        SELECT q.user AS user, shown(q.address) AS address, q.query_start_time_microseconds AS at, 1 AS begins
        FROM system.query_log AS q
        WHERE q.event_date >= toDate(since) AND q.event_time >= since AND q.type IN ('QueryStart', 'ExceptionBeforeStart')
            AND q.is_initial_query
    ),
    refused AS
    (
        SELECT
            user,
            address,
            arrayJoin(arrayFold(
                (waiting, step) -> if(step.2 = 1, arrayPopBack(waiting), arrayPushBack(waiting, step.1)),
                arraySort(groupArray((at, begins))),
                CAST([], 'Array(DateTime64(6))'))) AS at
        FROM steps
        GROUP BY user, address
    )
SELECT
    ts, user, address, interface, action, kind, tables, query, query_hash, read_rows, read_bytes, result_rows,
    result_bytes, duration_ms, result, error_code, error, id
FROM
(
    SELECT
        ts, user, address, interface, action, kind, tables, query, query_hash, read_rows, read_bytes, result_rows,
        result_bytes, duration_ms, error_code, if(error_code = 0, '', errorCodeToName(error_code)) AS error, id,
        multiIf(
            error_code = 0, 'ok',
            error IN ('ACCESS_DENIED', 'READONLY', 'SETTING_CONSTRAINT_VIOLATION', 'QUOTA_EXCEEDED', 'QUERY_IS_PROHIBITED',
                'DATABASE_ACCESS_DENIED', 'PATH_ACCESS_DENIED', 'SET_NON_GRANTED_ROLE', 'SUPPORT_IS_DISABLED',
                'FUNCTION_NOT_ALLOWED', 'TOO_MANY_SIMULTANEOUS_QUERIES'), 'denied',
            'failed') AS result
    FROM queries
    UNION ALL
    SELECT
        ts, user, address, interface, 'login' AS action, '' AS kind, CAST([], 'Array(String)') AS tables, '' AS query,
        toUInt64(0) AS query_hash, toUInt64(0) AS read_rows, toUInt64(0) AS read_bytes, toUInt64(0) AS result_rows,
        toUInt64(0) AS result_bytes, toUInt64(0) AS duration_ms, 516 AS error_code, 'AUTHENTICATION_FAILED' AS error, id,
        'denied' AS result
    FROM failed_logins
    UNION ALL
    SELECT
        toDateTime64(at, 3, 'UTC') AS ts, user, address, '' AS interface, 'request' AS action, '' AS kind, CAST([], 'Array(String)') AS tables, '' AS query,
        toUInt64(0) AS query_hash, toUInt64(0) AS read_rows, toUInt64(0) AS read_bytes, toUInt64(0) AS result_rows,
        toUInt64(0) AS result_bytes, toUInt64(0) AS duration_ms, 0 AS error_code, '' AS error,
        cityHash64(user, address, at) AS id, 'denied' AS result
    FROM refused
    WHERE at < now64(6) - 5
)
WHERE (ts, id) NOT IN (SELECT ts, id FROM telemetry.access_log WHERE ts >= since - 1);

CREATE TABLE IF NOT EXISTS telemetry.edge_log
(
    ts DateTime64(3, 'UTC') COMMENT 'When it was answered',
    address String COMMENT 'Where it came from',
    method LowCardinality(String),
    path String COMMENT 'Without what follows a question mark, 200 characters at most',
    status UInt16,
    duration_ms UInt64,
    bytes UInt64 COMMENT 'Of the answer',
    user LowCardinality(String) COMMENT 'Who they say they are: a login of ours, (unknown) or empty',
    id UInt64 COMMENT 'Tells one from another of the same time'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (ts, id)
TTL toDateTime(ts) + toIntervalDay(400);

-- Where there is no edge there is no such file, and nothing is read. The folder between has a random name: the function
-- file() opens any file of this place to those who know its name. What the collector took is left out: there are as
-- many such requests as there is work, and the collector counts them.
CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.edge_log_keep
REFRESH EVERY 1 MINUTE APPEND TO telemetry.edge_log
DEFINER = telemetry_admin SQL SECURITY DEFINER
AS WITH
    (SELECT toDateTime(greatest(least(max(ts), now64(3)), toDateTime64('1970-01-05 00:00:00', 3, 'UTC')), 'UTC') - 600 FROM telemetry.edge_log) AS since
SELECT
    toDateTime64(fromUnixTimestamp64Milli(toInt64(JSONExtractFloat(line, 'ts') * 1000)), 3, 'UTC') AS ts,
    toValidUTF8(substring(JSONExtractString(line, 'request', 'remote_ip'), 1, 64)) AS address,
    toValidUTF8(substring(JSONExtractString(line, 'request', 'method'), 1, 16)) AS method,
    toValidUTF8(substring(splitByChar('?', JSONExtractString(line, 'request', 'uri'))[1], 1, 200)) AS path,
    toUInt16(least(JSONExtractUInt(line, 'status'), 999)) AS status,
    toUInt64(greatest(0, least(JSONExtractFloat(line, 'duration'), 1e9)) * 1000) AS duration_ms,
    JSONExtractUInt(line, 'size') AS bytes,
    multiIf(named = '', '', match(named, '^(m-[a-z0-9]{10}|telemetry_[a-z]+|default)$'), named, '(unknown)') AS user,
    cityHash64(line) AS id
FROM
(
    SELECT
        line,
        -- A login at the collector has its slot and its team behind it.
        replaceRegexpOne(if(
            JSONExtractString(line, 'user_id') != '', JSONExtractString(line, 'user_id'),
            JSONExtractString(line, 'request', 'headers', 'X-Clickhouse-User', 1)), '(\\.2)?(\\+.*)?$', '') AS named
    FROM file('edge/*/*.log', 'LineAsString', 'line String')
    WHERE startsWith(JSONExtractString(line, 'logger'), 'http.log.access')
)
WHERE ts >= since AND ts < now64(3) + 600
    AND NOT (status < 300 AND (startsWith(path, '/v1/') OR path = '/healthz'))
    AND (ts, id) NOT IN (SELECT ts, id FROM telemetry.edge_log WHERE ts >= since - 1);
