-- In which sessions did most go wrong?
--
-- failure_rate: percent of requests, given up ones included, and of tool calls; not known of a session that was
-- not sampled.
-- param days UInt16 = 30 : days to look back, today included
-- param limit UInt32 = 20 : sessions to show
SELECT
    session_id,
    member,
    min(started) AS started,
    argMax(chapter, ended) AS chapter,
    sum(api_errors) AS api_errors,
    sum(tool_failures) AS tool_failures,
    sum(rejected) / nullIf(max(session_weight), 0) AS rejected,
    round(100 * (api_errors + tool_failures) / nullIf(sum(requests) + api_errors + (sum(tool_calls) - tool_failures) / nullIf(max(session_weight), 0) + tool_failures, 0), 1) AS failure_rate,
    sum(cost_usd) AS cost_usd
FROM sessions_daily
WHERE day > today() - least({days:UInt16}, 20000) AND session_id != ''
GROUP BY member, session_id
HAVING api_errors + tool_failures > 0
ORDER BY api_errors + tool_failures DESC, started DESC, session_id
LIMIT {limit:UInt32}
