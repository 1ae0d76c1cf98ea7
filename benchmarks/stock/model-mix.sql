SELECT
    toMonday(Timestamp) AS week,
    LogAttributes['model'] AS model,
    count() AS requests,
    round(100 * requests / sum(count()) OVER (PARTITION BY week), 1) AS share_of_requests,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd,
    round(100 * cost_usd / sum(sum(toFloat64OrZero(LogAttributes['cost_usd']))) OVER (PARTITION BY week), 1) AS share_of_cost
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'api_request'
GROUP BY week, model
ORDER BY week, cost_usd DESC, model
