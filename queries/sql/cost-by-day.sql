-- What did each day cost?
--
-- sessions: those in which a request was made; one that went on for days or under several names is counted
-- in each row.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    day,
    uniqExact(s.member) AS members,
    uniqExactIf(s.session_id, s.session_id != '' AND s.requests > 0) AS sessions,
    sum(s.requests) AS requests,
    sum(s.cost_usd) AS cost_usd
FROM sessions_daily AS s
WHERE day > today() - least({days:UInt16}, 20000)
GROUP BY day
ORDER BY day
