-- How often did the cache help, and what did it cost where it did not?
--
-- hit_rate: part of the prompt that came from the cache, in percent. saved_usd: what the price of input would
-- have been above the price of a cache read. missed_usd: what the rest cost above it. Both are unknown where
-- the model has no price.
-- param month Date : its first day
SELECT
    u.model AS model,
    round(100 * cache_read_tokens / nullIf(cache_read_tokens + input_tokens + cache_creation_tokens, 0), 1) AS hit_rate,
    round(sum(u.cache_read * (p.input - p.cache_read) / 1e6), 6) AS saved_usd,
    round(sum((u.input * (p.input - p.cache_read) + u.write_5m * (p.cache_write_5m - p.cache_read)
        + u.write_1h * (p.cache_write_1h - p.cache_read)) / 1e6), 6) AS missed_usd,
    sum(u.cache_read) AS cache_read_tokens,
    sum(u.input) AS input_tokens,
    sum(u.write_5m + u.write_1h) AS cache_creation_tokens
FROM
(
    SELECT
        day,
        model,
        replaceRegexpOne(toString(model), '(-[0-9]{8})?(\\[1m\\])?$', '') AS priced_as,
        sum(input_tokens) AS input,
        sum(cache_read_tokens) AS cache_read,
        ifNull(sum(cache_creation_5m_tokens), 0) + sum(cache_creation_untold_tokens) AS write_5m,
        ifNull(sum(cache_creation_1h_tokens), 0) AS write_1h
    FROM usage_daily
    WHERE toStartOfMonth(day) = {month:Date}
    GROUP BY day, model
) AS u
ASOF LEFT JOIN prices AS p ON u.priced_as = p.model AND u.day >= p.since
GROUP BY u.model
ORDER BY cache_read_tokens DESC, model
