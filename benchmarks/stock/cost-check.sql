SELECT
    u.day AS day,
    u.model AS model,
    u.speed AS speed,
    u.requests AS requests,
    u.cost_usd AS reported_usd,
    if(u.speed IN ('', 'normal'), round((u.input * p.input + u.output * p.output + u.cache_read * p.cache_read
        + u.write_5m * p.cache_write_5m + u.write_1h * p.cache_write_1h) / 1e6, 6), NULL) AS recomputed_usd,
    round(reported_usd - recomputed_usd, 6) AS difference_usd
FROM
(
    SELECT
        toDate(Timestamp) AS day,
        LogAttributes['model'] AS model,
        LogAttributes['speed'] AS speed,
        replaceRegexpOne(model, '(-[0-9]{8})?(\\[1m\\])?$', '') AS priced_as,
        count() AS requests,
        sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd,
        sum(toUInt64OrZero(LogAttributes['input_tokens'])) AS input,
        sum(toUInt64OrZero(LogAttributes['output_tokens'])) AS output,
        sum(toUInt64OrZero(LogAttributes['cache_read_tokens'])) AS cache_read,
        sum(toUInt64OrZero(LogAttributes['cache_creation_5m_tokens'])) AS write_5m,
        sum(toUInt64OrZero(LogAttributes['cache_creation_1h_tokens'])) AS write_1h
    FROM stock_otel_logs
    WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body = 'api_request'
    GROUP BY day, model, speed
) AS u
ASOF LEFT JOIN prices AS p ON u.priced_as = p.model AND u.day >= p.since
ORDER BY day, model, speed
