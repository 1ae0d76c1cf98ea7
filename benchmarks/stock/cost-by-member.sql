SELECT
    LogAttributes['user.id'] AS member,
    uniqExact(LogAttributes['session.id']) AS sessions,
    count() AS requests,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd,
    round(100 * cost_usd / sum(sum(toFloat64OrZero(LogAttributes['cost_usd']))) OVER (), 1) AS share
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'api_request'
GROUP BY member
ORDER BY cost_usd DESC, member
