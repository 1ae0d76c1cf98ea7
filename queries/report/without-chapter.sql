-- Which sessions cost something and belong to no chapter?
--
-- The ten dearest. `telemetry label SESSION --chapter ch03` mends one; for what comes, map folders or branches
-- to chapters in the settings (`context.chapters.paths`, `context.chapters.branches`).
-- param month Date : its first day
SELECT
    session_id,
    sum(s.cost_usd) AS cost_usd,
    min(s.started) AS started,
    argMax(s.git_branch, s.ended) AS git_branch,
    member,
    sum(s.requests) AS requests
FROM sessions_daily AS s
WHERE toStartOfMonth(day) = {month:Date} AND s.chapter = ''
GROUP BY member, session_id
HAVING cost_usd > 0
ORDER BY cost_usd DESC, session_id
LIMIT 10
