SELECT
    LogAttributes['tool_name'] AS tool_name,
    count() AS calls,
    round(quantilesTDigest(0.5, 0.95)(toUInt64OrZero(LogAttributes['duration_ms']))[1]) AS p50_ms,
    round(quantilesTDigest(0.5, 0.95)(toUInt64OrZero(LogAttributes['duration_ms']))[2]) AS p95_ms,
    round(sum(toUInt64OrZero(LogAttributes['duration_ms'])) / 1000, 1) AS total_s
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'tool_result'
GROUP BY tool_name
ORDER BY p95_ms DESC, tool_name
