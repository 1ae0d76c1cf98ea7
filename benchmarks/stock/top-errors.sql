SELECT
    Body AS event,
    LogAttributes['error_type'] AS error_type,
    LogAttributes['status_code'] AS status_code,
    any(LogAttributes['tool_name']) AS tool,
    LogAttributes['error'] AS error,
    count() AS times,
    uniqExact(LogAttributes['user.id']) AS members,
    max(Timestamp) AS last_seen
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1 AND (Body IN ('api_error', 'api_refusal', 'internal_error') OR LogAttributes['success'] = 'false')
GROUP BY event, error_type, status_code, error
ORDER BY times DESC, last_seen DESC, error
LIMIT {limit:UInt32}
