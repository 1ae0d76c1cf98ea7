SELECT
    multiIf(
        LogAttributes['agent.name'] != '', LogAttributes['agent.name'],
        startsWith(LogAttributes['query_source'], 'agent:'), splitByChar(':', LogAttributes['query_source'])[-1],
        LogAttributes['query_source'] = 'compact', '(compaction)',
        '(main)') AS agent,
    count() AS requests,
    sum(toUInt64OrZero(LogAttributes['input_tokens']) + toUInt64OrZero(LogAttributes['cache_read_tokens'])
        + toUInt64OrZero(LogAttributes['cache_creation_tokens'])) AS tokens_read,
    sum(toUInt64OrZero(LogAttributes['output_tokens'])) AS tokens_written,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd,
    round(100 * cost_usd / sum(sum(toFloat64OrZero(LogAttributes['cost_usd']))) OVER (), 1) AS share
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'api_request'
GROUP BY agent
ORDER BY cost_usd DESC, agent
