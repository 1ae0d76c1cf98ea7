SELECT
    ResourceAttributes['chapter'] AS chapter_shown,
    uniqExact(LogAttributes['session.id']) AS sessions,
    count() AS requests,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd,
    round(100 * cost_usd / sum(sum(toFloat64OrZero(LogAttributes['cost_usd']))) OVER (), 1) AS share
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'api_request'
GROUP BY chapter_shown
ORDER BY cost_usd DESC, chapter_shown
