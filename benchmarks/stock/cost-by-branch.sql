SELECT
    ResourceAttributes['git.branch'] AS branch,
    uniqExact(LogAttributes['session.id']) AS sessions,
    count() AS requests,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'api_request'
GROUP BY branch
ORDER BY cost_usd DESC, branch
