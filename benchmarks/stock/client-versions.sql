SELECT
    ResourceAttributes['service.version'] AS client_version,
    uniqExact(LogAttributes['user.id']) AS members,
    uniqExact(LogAttributes['session.id']) AS sessions,
    max(Timestamp) AS last_seen
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1
GROUP BY client_version
ORDER BY client_version DESC
