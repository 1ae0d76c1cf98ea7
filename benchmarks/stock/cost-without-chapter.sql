SELECT
    LogAttributes['session.id'] AS session_id,
    any(LogAttributes['user.id']) AS member,
    min(Timestamp) AS started,
    any(ResourceAttributes['git.branch']) AS git_branch,
    count() AS requests,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'api_request' AND ResourceAttributes['chapter'] = ''
GROUP BY session_id
HAVING cost_usd > 0
ORDER BY cost_usd DESC, session_id
LIMIT {limit:UInt32}
