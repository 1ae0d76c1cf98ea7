SELECT
    LogAttributes['session.id'] AS session_id,
    any(LogAttributes['user.id']) AS member,
    min(Timestamp) AS started,
    any(ResourceAttributes['chapter']) AS chapter,
    countIf(Body = 'api_error') AS api_errors,
    countIf(Body = 'tool_result' AND LogAttributes['success'] = 'false') AS tool_failures,
    countIf(Body = 'tool_decision' AND startsWith(LogAttributes['source'], 'user_') AND LogAttributes['decision'] = 'reject') AS rejected,
    round(100 * (api_errors + tool_failures)
        / nullIf(countIf(Body IN ('api_request', 'api_error', 'tool_result')), 0), 1) AS failure_rate,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1
GROUP BY session_id
HAVING api_errors + tool_failures > 0
ORDER BY api_errors + tool_failures DESC, started DESC, session_id
LIMIT {limit:UInt32}
