-- What did each cost, what was got for it, and what changed against the month before?
--
-- A month that still runs is compared with the same days of the month before. usd_per_1000_output: a thousand
-- tokens of answer with everything that was read for them. cache_hit_rate: part of what was read that came from
-- the cache. What is known of no team or chapter is `(none)`.
-- param by Identifier : team, chapter or model
-- param month Date : its first day
-- param through UInt8 = 31 : the last day of the month before that counts
SELECT
    name,
    sumIf(cost, this) AS cost_usd,
    sumIf(cost, NOT this) AS before_usd,
    round(100 * (toFloat64(cost_usd) / nullIf(toFloat64(before_usd), 0) - 1), 1) AS change,
    round(100 * toFloat64(cost_usd) / nullIf(sum(toFloat64(sumIf(cost, this))) OVER (), 0), 1) AS share,
    uniqExactIf(member, this) AS members,
    sumIf(asked, this) AS requests,
    round(toFloat64(cost_usd) / nullIf(requests, 0), 6) AS usd_per_request,
    round(1000 * toFloat64(cost_usd) / nullIf(sumIf(answered, this), 0), 6) AS usd_per_1000_output,
    round(100 * sumIf(cached, this) / nullIf(sumIf(cached + other, this), 0), 1) AS cache_hit_rate
FROM
(
    SELECT
        if(toString({by:Identifier}) = '', '(none)', toString({by:Identifier})) AS name,
        member,
        toStartOfMonth(day) = {month:Date} AS this,
        cost_usd AS cost,
        requests AS asked,
        output_tokens AS answered,
        ifNull(cache_read_tokens, 0) AS cached,
        ifNull(input_tokens, 0) + ifNull(cache_creation_tokens, 0) AS other
    FROM usage_daily
    WHERE toStartOfMonth(day) = {month:Date}
        OR (toStartOfMonth(day) = addMonths({month:Date}, -1) AND toDayOfMonth(day) <= {through:UInt8})
)
GROUP BY name
ORDER BY cost_usd DESC, name
