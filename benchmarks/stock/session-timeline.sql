SELECT
    Timestamp AS ts,
    Body AS event,
    concat(LogAttributes['tool_name'], LogAttributes['model']) AS what,
    if(LogAttributes['error'] != '', LogAttributes['error'], LogAttributes['error_type']) AS error,
    LogAttributes['success'] AS success,
    LogAttributes['duration_ms'] AS duration_ms,
    LogAttributes['input_tokens'], LogAttributes['output_tokens'], LogAttributes['cache_read_tokens'],
    LogAttributes['cache_creation_tokens'],
    LogAttributes['cost_usd'] AS cost_usd
FROM stock_otel_logs
WHERE LogAttributes['session.id'] = {session:String}
ORDER BY ts, toUInt64OrZero(LogAttributes['event.sequence'])
