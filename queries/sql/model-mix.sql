-- Which models do we use, week by week?
--
-- Shares of the week, in percent.
-- param days UInt16 = 90 : days to look back, today included
SELECT
    toMonday(day) AS week,
    model,
    sum(s.requests) AS requests,
    round(100 * requests / nullIf(sum(sum(s.requests)) OVER (PARTITION BY week), 0), 1) AS share_of_requests,
    sum(s.cost_usd) AS cost_usd,
    round(100 * toFloat64(cost_usd) / nullIf(sum(sum(toFloat64(s.cost_usd))) OVER (PARTITION BY week), 0), 1) AS share_of_cost
FROM usage_daily AS s
WHERE day > today() - least({days:UInt16}, 20000)
GROUP BY week, model
ORDER BY week, cost_usd DESC, model
