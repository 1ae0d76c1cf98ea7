-- Does the cost that Claude Code reports agree with the price list?
--
-- recomputed_usd: tokens times the prices of that day (view `prices`); unknown for a model without a price
-- and for fast mode, which costs otherwise. Where a client does not tell for how long the cache was written,
-- five minutes are assumed.
-- The client rounds each request to a millionth: half of that a request is no difference.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    u.day AS day,
    u.model AS model,
    u.speed AS speed,
    u.requests AS requests,
    u.without_cost AS requests_without_cost,
    u.cost_usd AS reported_usd,
    if(u.speed IN ('', 'normal'), round((u.input * p.input + u.output * p.output + u.cache_read * p.cache_read
        + u.write_5m * p.cache_write_5m + u.write_1h * p.cache_write_1h) / 1e6, 6), NULL) AS recomputed_usd,
    if(requests_without_cost > 0, NULL, round(toFloat64(reported_usd) - recomputed_usd, 6)) AS difference_usd,
    multiIf(
        u.speed NOT IN ('', 'normal'), 'fast mode',
        p.input IS NULL, 'no price',
        recomputed_usd IS NULL, 'no tokens reported',
        reported_usd IS NULL, 'no cost reported',
        requests_without_cost > 0, 'cost partly reported',
        abs(difference_usd) <= 0.000001 + 0.0000005 * requests, '',
        'differs') AS remark
FROM
(
    SELECT
        day, model, speed,
        replaceRegexpOne(toString(model), '(-[0-9]{8})?(\\[1m\\])?$', '') AS priced_as,
        sum(requests) AS requests,
        sum(requests_without_cost) AS without_cost,
        sum(cost_usd) AS cost_usd,
        sum(input_tokens) AS input,
        sum(output_tokens) AS output,
        sum(cache_read_tokens) AS cache_read,
        ifNull(sum(cache_creation_5m_tokens), 0) + sum(cache_creation_untold_tokens) AS write_5m,
        ifNull(sum(cache_creation_1h_tokens), 0) AS write_1h
    FROM usage_daily
    WHERE day > today() - least({days:UInt16}, 20000)
    GROUP BY day, model, speed
) AS u
ASOF LEFT JOIN prices AS p ON u.priced_as = p.model AND u.day >= p.since
ORDER BY day, model, speed
