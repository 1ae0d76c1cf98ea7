SELECT
    u.model AS model,
    sum(u.cache_read) AS cache_read_tokens,
    sum(u.input) AS input_tokens,
    sum(u.write_5m + u.write_1h) AS cache_creation_tokens,
    round(100 * cache_read_tokens / nullIf(cache_read_tokens + input_tokens + cache_creation_tokens, 0), 1) AS hit_rate,
    round(sum((u.input * (p.input - p.cache_read) + u.write_5m * (p.cache_write_5m - p.cache_read)
        + u.write_1h * (p.cache_write_1h - p.cache_read)) / 1e6), 6) AS missed_usd,
    round(sum(u.cache_read * (p.input - p.cache_read) / 1e6), 6) AS saved_usd
FROM
(
    SELECT
        toDate(Timestamp) AS day,
        LogAttributes['model'] AS model,
        replaceRegexpOne(model, '(-[0-9]{8})?(\\[1m\\])?$', '') AS priced_as,
        sum(toUInt64OrZero(LogAttributes['input_tokens'])) AS input,
        sum(toUInt64OrZero(LogAttributes['cache_read_tokens'])) AS cache_read,
        sum(toUInt64OrZero(LogAttributes['cache_creation_5m_tokens'])) AS write_5m,
        sum(toUInt64OrZero(LogAttributes['cache_creation_1h_tokens'])) AS write_1h
    FROM stock_otel_logs
    WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'api_request'
    GROUP BY day, model
) AS u
ASOF LEFT JOIN prices AS p ON u.priced_as = p.model AND u.day >= p.since
GROUP BY u.model
ORDER BY cache_read_tokens DESC, model
