-- What did each model cost?
--
-- requests_without_cost: the client reported none; they are in no sum. share: part of the
-- whole, in percent.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    model,
    sum(s.requests) AS requests,
    sum(s.requests_without_cost) AS requests_without_cost,
    sum(s.cost_usd) AS cost_usd,
    round(100 * toFloat64(cost_usd) / nullIf(sum(sum(toFloat64(s.cost_usd))) OVER (), 0), 1) AS share,
    sum(s.input_tokens) AS input_tokens,
    sum(s.output_tokens) AS output_tokens,
    sum(s.cache_read_tokens) AS cache_read_tokens,
    sum(s.cache_creation_tokens) AS cache_creation_tokens
FROM usage_daily AS s
WHERE day > today() - least({days:UInt16}, 20000)
GROUP BY model
ORDER BY cost_usd DESC, model
