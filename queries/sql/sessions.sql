-- What sessions were there?
--
-- Of a session that was not sampled only requests and errors are known.
-- active_s: seconds of work as the client counts them; unknown where it does not.
-- prompts_by_people: without those by which background work reports. Of a session that began earlier, only these days.
-- param days UInt16 = 30 : days to look back, today included
-- param limit UInt32 = 50 : sessions to show, those at work last first
SELECT
    session_id,
    member,
    started,
    ended,
    dateDiff('millisecond', started, ended) / 1000 AS duration_s,
    a.active_s AS active_s,
    chapter,
    git_branch,
    models,
    prompts_by_people,
    requests,
    tool_calls,
    tool_failures,
    api_errors,
    cost_usd
FROM
(
    SELECT
        s.session_id AS session_id,
        s.member AS member,
        min(s.started) AS started,
        max(s.ended) AS ended,
        argMax(s.chapter, s.ended) AS chapter,
        argMax(s.git_branch, s.ended) AS git_branch,
        arraySort(groupUniqArrayArray(s.models)) AS models,
        (sum(s.prompts) - least(sum(s.background_reports), sum(s.prompts) - sum(s.commands))) / nullIf(max(s.session_weight), 0) AS prompts_by_people,
        sum(s.requests) AS requests,
        (sum(s.tool_calls) - tool_failures) / nullIf(max(s.session_weight), 0) + tool_failures AS tool_calls,
        sum(s.tool_failures) AS tool_failures,
        sum(s.api_errors) AS api_errors,
        sum(s.cost_usd) AS cost_usd
    FROM sessions_daily AS s
    WHERE s.day > today() - least({days:UInt16}, 20000) AND s.session_id != ''
    GROUP BY member, session_id
    HAVING sum(s.prompts + s.requests + s.api_errors + s.tool_calls) > 0
    ORDER BY ended DESC, session_id
    LIMIT {limit:UInt32}
) AS s
LEFT ANY JOIN
(
    SELECT member, session_id, toNullable(sum(active_s)) AS active_s
    FROM active_daily
    WHERE day > today() - least({days:UInt16}, 20000)
    GROUP BY member, session_id
) AS a ON s.member = a.member AND s.session_id = a.session_id
ORDER BY ended DESC, session_id
