-- What did we get for our tokens, by model?
--
-- Tokens per request, and what a thousand tokens of answer cost with everything that was read for them.
-- param month Date : its first day
SELECT
    model,
    round(1000 * toFloat64(sum(s.cost_usd)) / nullIf(sum(s.output_tokens), 0), 6) AS usd_per_1000_output,
    round(toFloat64(sum(s.cost_usd)) / requests, 6) AS usd_per_request,
    sum(s.requests) AS requests,
    round(sum(s.output_tokens) / requests, 1) AS output_per_request,
    round(sum(s.input_tokens) / requests, 1) AS input_per_request,
    round(sum(s.cache_read_tokens) / requests, 1) AS cache_read_per_request,
    round(sum(s.cache_creation_tokens) / requests, 1) AS cache_creation_per_request
FROM usage_daily AS s
WHERE toStartOfMonth(day) = {month:Date}
GROUP BY model
ORDER BY sum(s.cost_usd) DESC, model
