-- What did each day cost?
--
-- Days in UTC; a day that is not here has no events.
-- param month Date : its first day
SELECT
    day,
    sum(s.cost_usd) AS cost_usd,
    round(100 * toFloat64(cost_usd) / nullIf(sum(sum(toFloat64(s.cost_usd))) OVER (), 0), 1) AS share,
    sum(s.prompts) AS prompts,
    sum(s.requests) AS requests,
    sum(s.tool_calls) AS tool_calls
FROM daily_metrics AS s
WHERE toStartOfMonth(day) = {month:Date}
GROUP BY day
ORDER BY day
