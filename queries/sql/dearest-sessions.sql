-- Which sessions cost most?
--
-- Of a session that was not sampled prompts and tool calls are not known.
-- param days UInt16 = 30 : days to look back, today included
-- param limit UInt32 = 10 : sessions to show
SELECT
    session_id,
    member,
    min(started) AS started,
    argMax(chapter, ended) AS chapter,
    arraySort(groupUniqArrayArray(models)) AS models,
    sum(prompts) / nullIf(max(session_weight), 0) AS prompts,
    sum(requests) AS requests,
    (sum(tool_calls) - sum(tool_failures)) / nullIf(max(session_weight), 0) + sum(tool_failures) AS tool_calls,
    sum(cost_usd) AS cost_usd
FROM sessions_daily
WHERE day > today() - least({days:UInt16}, 20000) AND session_id != ''
GROUP BY member, session_id
HAVING cost_usd > 0
ORDER BY cost_usd DESC, session_id
LIMIT {limit:UInt32}
