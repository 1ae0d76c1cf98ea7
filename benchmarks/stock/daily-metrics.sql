SELECT
    toDate(Timestamp) AS day,
    ResourceAttributes['team'] AS team,
    ResourceAttributes['chapter'] AS chapter,
    uniqExact(LogAttributes['user.id']) AS members,
    uniqExact(LogAttributes['session.id']) AS sessions,
    countIf(Body = 'user_prompt') AS prompts,
    countIf(Body = 'api_request') AS requests,
    countIf(Body = 'api_error') AS api_errors,
    countIf(Body = 'tool_result') AS tool_calls,
    countIf(Body = 'tool_result' AND LogAttributes['success'] = 'false') AS tool_failures,
    countIf(Body = 'tool_result' AND LogAttributes['success'] = 'true'
        AND LogAttributes['tool_name'] IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit')) AS edits,
    countIf(Body = 'tool_decision' AND startsWith(LogAttributes['source'], 'user_') AND LogAttributes['decision'] = 'accept') AS approved,
    countIf(Body = 'tool_decision' AND startsWith(LogAttributes['source'], 'user_') AND LogAttributes['decision'] = 'reject') AS rejected,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd,
    sum(toUInt64OrZero(LogAttributes['input_tokens'])) AS input_tokens,
    sum(toUInt64OrZero(LogAttributes['output_tokens'])) AS output_tokens,
    sum(toUInt64OrZero(LogAttributes['cache_read_tokens'])) AS cache_read_tokens,
    sum(toUInt64OrZero(LogAttributes['cache_creation_tokens'])) AS cache_creation_tokens
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1
GROUP BY day, team, chapter
ORDER BY day, team, chapter
