SELECT
    Timestamp >= today() - 6 AS recent,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd,
    uniqExactIf(LogAttributes['session.id'], Body = 'api_request') AS sessions,
    countIf(Body = 'user_prompt') AS prompts,
    countIf(Body = 'api_request') AS requests,
    sum(toUInt64OrZero(LogAttributes['output_tokens'])) AS output_tokens,
    countIf(Body = 'tool_result') AS tool_calls,
    countIf(Body = 'tool_result' AND LogAttributes['success'] = 'false') AS tool_failures,
    countIf(Body = 'api_error') AS api_errors,
    countIf(Body = 'tool_decision' AND LogAttributes['source'] = 'user_reject') AS rejected
FROM stock_otel_logs
WHERE Timestamp >= today() - 13
GROUP BY recent
