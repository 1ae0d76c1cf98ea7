-- What sessions were there?
--
-- active_s: seconds of work as the client counts them; unknown where it does not. prompts are those of
-- people, not those by which background work reports.
-- param days UInt16 = 30 : days to look back, today included
-- param limit UInt32 = 50 : sessions to show, those at work last first
SELECT
    session_id, member, started, ended, duration_s, active_s, chapter, git_branch, models,
    prompts_by_people AS prompts, requests, tool_calls, tool_failures, api_errors, cost_usd
FROM sessions
WHERE session_id IN
(
    SELECT session_id
    FROM sessions_daily
    WHERE day > today() - {days:UInt16} AND prompts + requests + api_errors + tool_calls > 0
    GROUP BY member, session_id
    ORDER BY max(ended) DESC, session_id
    LIMIT {limit:UInt32}
)
ORDER BY ended DESC, session_id
