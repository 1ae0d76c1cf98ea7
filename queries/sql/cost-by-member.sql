-- What did each member cost?
--
-- share: part of the whole, in percent.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    member,
    uniqExactIf(s.session_id, s.requests > 0) AS sessions,
    sum(s.requests) AS requests,
    sum(s.cost_usd) AS cost_usd,
    round(100 * toFloat64(cost_usd) / sum(sum(toFloat64(s.cost_usd))) OVER (), 1) AS share
FROM sessions_daily AS s
WHERE day > today() - {days:UInt16}
GROUP BY member
ORDER BY cost_usd DESC, member
