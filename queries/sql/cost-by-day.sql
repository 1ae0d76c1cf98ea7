-- What did each day cost?
--
-- param days UInt16 = 30 : days to look back, today included
SELECT
    day,
    uniqExact(s.member) AS members,
    uniqExactIf(s.session_id, s.requests > 0) AS sessions,
    sum(s.requests) AS requests,
    sum(s.cost_usd) AS cost_usd
FROM sessions_daily AS s
WHERE day > today() - {days:UInt16}
GROUP BY day
ORDER BY day
