SELECT
    LogAttributes['session.id'] AS session_id,
    any(LogAttributes['user.id']) AS member,
    min(Timestamp) AS started,
    any(ResourceAttributes['chapter']) AS chapter,
    groupUniqArrayIf(LogAttributes['model'], Body = 'api_request') AS models,
    countIf(Body = 'user_prompt') AS prompts,
    countIf(Body = 'api_request') AS requests,
    countIf(Body = 'tool_result') AS tool_calls,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1
GROUP BY session_id
HAVING cost_usd > 0
ORDER BY cost_usd DESC, session_id
LIMIT {limit:UInt32}
