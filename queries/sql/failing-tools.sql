-- Which tools fail, and why?
--
-- failure_rate in percent. kinds: how often each kind of error was reported (clients before 2.1 name none).
-- param days UInt16 = 30 : days to look back, today included
SELECT
    t.tool_name AS tool_name,
    t.calls AS calls,
    t.failures AS failures,
    round(100 * t.failures / nullIf(t.calls, 0), 1) AS failure_rate,
    e.kinds AS kinds
FROM
(
    SELECT tool_name, sum(calls) AS calls, sum(failures) AS failures
    FROM tools_daily
    WHERE day > today() - least({days:UInt16}, 20000)
    GROUP BY tool_name
) AS t
LEFT JOIN
(
    SELECT tool_name, sumMap(map(if(error_type = '', '(unnamed)', toString(error_type)), errors)) AS kinds
    FROM errors_daily
    WHERE day > today() - least({days:UInt16}, 20000) AND event = 'tool_result'
    GROUP BY tool_name
) AS e ON t.tool_name = e.tool_name
WHERE t.failures > 0
ORDER BY t.failures DESC, tool_name
