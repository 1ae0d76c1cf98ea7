-- What did each member cost?
--
-- share: part of the whole, in percent.
-- sessions: those in which a request was made; one that went on for days or under several names is counted
-- in each row.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    member,
    uniqExactIf(s.session_id, s.session_id != '' AND s.requests > 0) AS sessions,
    sum(s.requests) AS requests,
    sum(s.cost_usd) AS cost_usd,
    round(100 * toFloat64(cost_usd) / nullIf(sum(sum(toFloat64(s.cost_usd))) OVER (), 0), 1) AS share
FROM sessions_daily AS s
WHERE day > today() - least({days:UInt16}, 20000)
GROUP BY member
ORDER BY cost_usd DESC, member
