SELECT
    toDate(Timestamp) AS day,
    countIf(Body = 'api_request') AS requests,
    countIf(Body = 'api_error') AS api_errors,
    round(100 * api_errors / nullIf(requests + api_errors, 0), 2) AS api_error_rate,
    countIf(Body = 'tool_result') AS tool_calls,
    countIf(Body = 'tool_result' AND LogAttributes['success'] = 'false') AS tool_failures,
    round(100 * tool_failures / nullIf(tool_calls, 0), 2) AS tool_failure_rate
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1
GROUP BY day
ORDER BY day
