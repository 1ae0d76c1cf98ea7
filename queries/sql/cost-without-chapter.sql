-- Which sessions cost something and belong to no chapter?
--
-- `telemetry label SESSION --chapter ch03` mends one. An empty session_id: sent without a session.
-- param days UInt16 = 30 : days to look back, today included
-- param limit UInt32 = 50 : sessions to show, the dearest first
SELECT
    session_id,
    member,
    min(started) AS started,
    argMax(git_branch, ended) AS git_branch,
    sum(requests) AS requests,
    sum(cost_usd) AS cost_usd
FROM sessions_daily
WHERE day > today() - least({days:UInt16}, 20000) AND chapter = ''
GROUP BY member, session_id
HAVING cost_usd > 0
ORDER BY cost_usd DESC, session_id
LIMIT {limit:UInt32}
