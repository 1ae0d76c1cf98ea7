-- What do we get for our tokens, by model?
--
-- Tokens per request; usd_per_1000_output: all cost, divided by the tokens of the answers, times 1000.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    model,
    sum(s.requests) AS requests,
    round(sum(s.input_tokens) / requests, 1) AS input_per_request,
    round(sum(s.cache_read_tokens) / requests, 1) AS cache_read_per_request,
    round(sum(s.cache_creation_tokens) / requests, 1) AS cache_creation_per_request,
    round(sum(s.output_tokens) / requests, 1) AS output_per_request,
    round(toFloat64(sum(s.cost_usd)) / requests, 6) AS usd_per_request,
    round(1000 * toFloat64(sum(s.cost_usd)) / nullIf(sum(s.output_tokens), 0), 6) AS usd_per_1000_output
FROM usage_daily AS s
WHERE day > today() - least({days:UInt16}, 20000)
GROUP BY model
ORDER BY sum(s.cost_usd) DESC, model
