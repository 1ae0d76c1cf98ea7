SELECT
    LogAttributes['model'] AS model,
    count() AS requests,
    round(quantilesTDigest(0.5, 0.95)(toUInt64OrZero(LogAttributes['duration_ms']))[1]) AS p50_ms,
    round(quantilesTDigest(0.5, 0.95)(toUInt64OrZero(LogAttributes['duration_ms']))[2]) AS p95_ms,
    round(sum(toUInt64OrZero(LogAttributes['duration_ms'])) / 3600000, 2) AS total_h
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'api_request'
GROUP BY model
ORDER BY p95_ms DESC, model
