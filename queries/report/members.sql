-- What did each member cost?
--
-- Members by their opaque id. share: part of the whole, in percent.
-- param month Date : its first day
SELECT
    member,
    sum(s.cost_usd) AS cost_usd,
    round(100 * toFloat64(cost_usd) / nullIf(sum(sum(toFloat64(s.cost_usd))) OVER (), 0), 1) AS share,
    uniqExactIf(s.session_id, s.session_id != '' AND s.requests > 0) AS sessions,
    sum(s.requests) AS requests
FROM sessions_daily AS s
WHERE toStartOfMonth(day) = {month:Date}
GROUP BY member
ORDER BY cost_usd DESC, member
