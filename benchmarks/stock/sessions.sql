SELECT
    LogAttributes['session.id'] AS session_id,
    any(LogAttributes['user.id']) AS member,
    min(Timestamp) AS started,
    max(Timestamp) AS ended,
    dateDiff('second', started, ended) AS duration_s,
    argMax(ResourceAttributes['chapter'], Timestamp) AS chapter,
    argMax(ResourceAttributes['git.branch'], Timestamp) AS git_branch,
    arraySort(groupUniqArrayIf(LogAttributes['model'], Body = 'api_request')) AS models,
    countIf(Body = 'user_prompt') AS prompts,
    countIf(Body = 'api_request') AS requests,
    countIf(Body = 'tool_result') AS tool_calls,
    countIf(Body = 'tool_result' AND LogAttributes['success'] = 'false') AS tool_failures,
    countIf(Body = 'api_error') AS api_errors,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1
GROUP BY session_id
HAVING prompts + requests + api_errors + tool_calls > 0
ORDER BY ended DESC, session_id
LIMIT {limit:UInt32}
