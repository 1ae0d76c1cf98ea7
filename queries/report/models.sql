-- What did each model cost?
--
-- requests_without_cost: the client reported none; they are in no sum.
-- param month Date : its first day
SELECT
    model,
    sum(s.cost_usd) AS cost_usd,
    round(100 * toFloat64(cost_usd) / nullIf(sum(sum(toFloat64(s.cost_usd))) OVER (), 0), 1) AS share,
    sum(s.requests) AS requests,
    sum(s.requests_without_cost) AS requests_without_cost
FROM usage_daily AS s
WHERE toStartOfMonth(day) = {month:Date}
GROUP BY model
ORDER BY cost_usd DESC, model
