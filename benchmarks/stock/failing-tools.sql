SELECT
    LogAttributes['tool_name'] AS tool_name,
    count() AS calls,
    countIf(LogAttributes['success'] = 'false') AS failures,
    round(100 * failures / nullIf(calls, 0), 1) AS failure_rate,
    sumMapIf(map(if(LogAttributes['error_type'] = '', '(unnamed)', LogAttributes['error_type']), 1), LogAttributes['success'] = 'false') AS kinds
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'tool_result'
GROUP BY tool_name
HAVING failures > 0
ORDER BY failures DESC, tool_name
