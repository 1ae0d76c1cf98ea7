-- Which tools are slow?
--
-- Milliseconds; p50 and p95 are within 5 %. Waiting for a person is not in them.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    tool_name,
    sum(d.events) AS calls,
    quantileExactWeighted(0.5)(d.about_ms, toUInt64(round(d.events))) AS p50_ms,
    quantileExactWeighted(0.95)(d.about_ms, toUInt64(round(d.events))) AS p95_ms,
    round(sum(d.duration_ms) / 1000, 1) AS total_s
FROM durations_daily AS d
WHERE day > today() - least({days:UInt16}, 20000) AND event = 'tool_result'
GROUP BY tool_name
ORDER BY p95_ms DESC, tool_name
