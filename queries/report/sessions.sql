-- Which ten sessions cost most?
--
-- What of a session lies in another month is not counted.
-- param month Date : its first day
SELECT
    session_id,
    sum(s.cost_usd) AS cost_usd,
    if(argMax(s.chapter, s.ended) = '', '(none)', argMax(s.chapter, s.ended)) AS chapter,
    min(s.started) AS started,
    member,
    arraySort(groupUniqArrayArray(s.models)) AS models,
    sum(s.prompts) / nullIf(max(s.session_weight), 0) AS prompts,
    sum(s.requests) AS requests,
    (sum(s.tool_calls) - sum(s.tool_failures)) / nullIf(max(s.session_weight), 0) + sum(s.tool_failures) AS tool_calls
FROM sessions_daily AS s
WHERE toStartOfMonth(day) = {month:Date} AND session_id != ''
GROUP BY member, session_id
HAVING cost_usd > 0
ORDER BY cost_usd DESC, session_id
LIMIT 10
