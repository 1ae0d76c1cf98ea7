SELECT
    LogAttributes['model'] AS model,
    count() AS requests,
    round(sum(toUInt64OrZero(LogAttributes['input_tokens'])) / requests, 1) AS input_per_request,
    round(sum(toUInt64OrZero(LogAttributes['cache_read_tokens'])) / requests, 1) AS cache_read_per_request,
    round(sum(toUInt64OrZero(LogAttributes['cache_creation_tokens'])) / requests, 1) AS cache_creation_per_request,
    round(sum(toUInt64OrZero(LogAttributes['output_tokens'])) / requests, 1) AS output_per_request,
    round(sum(toFloat64OrZero(LogAttributes['cost_usd'])) / requests, 6) AS usd_per_request,
    round(1000 * sum(toFloat64OrZero(LogAttributes['cost_usd'])) / nullIf(sum(toUInt64OrZero(LogAttributes['output_tokens'])), 0), 6) AS usd_per_1000_output
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'api_request'
GROUP BY model
ORDER BY sum(toFloat64OrZero(LogAttributes['cost_usd'])) DESC, model
