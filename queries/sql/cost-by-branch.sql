-- What did each branch cost?
--
-- param days UInt16 = 30 : days to look back, today included
SELECT
    if(git_branch = '', '(none)', git_branch) AS branch,
    uniqExactIf(s.session_id, s.requests > 0) AS sessions,
    sum(s.requests) AS requests,
    sum(s.cost_usd) AS cost_usd
FROM sessions_daily AS s
WHERE day > today() - {days:UInt16}
GROUP BY git_branch
ORDER BY cost_usd DESC, branch
