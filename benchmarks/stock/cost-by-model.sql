SELECT
    LogAttributes['model'] AS model,
    count() AS requests,
    countIf(LogAttributes['cost_usd'] = '') AS requests_without_cost,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd,
    round(100 * cost_usd / sum(sum(toFloat64OrZero(LogAttributes['cost_usd']))) OVER (), 1) AS share,
    sum(toUInt64OrZero(LogAttributes['input_tokens'])) AS input_tokens,
    sum(toUInt64OrZero(LogAttributes['output_tokens'])) AS output_tokens,
    sum(toUInt64OrZero(LogAttributes['cache_read_tokens'])) AS cache_read_tokens,
    sum(toUInt64OrZero(LogAttributes['cache_creation_tokens'])) AS cache_creation_tokens
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'api_request'
GROUP BY model
ORDER BY cost_usd DESC, model
