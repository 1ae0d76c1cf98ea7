-- Which tools are slow?
--
-- Milliseconds; p50 and p95 are estimates (t-digest). Waiting for a person is not in them.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    tool_name,
    sum(calls) AS calls,
    round(quantilesTDigestWeightedMerge(0.5, 0.95)(duration_quantiles)[1]) AS p50_ms,
    round(quantilesTDigestWeightedMerge(0.5, 0.95)(duration_quantiles)[2]) AS p95_ms,
    round(sum(duration_ms) / 1000, 1) AS total_s
FROM tools_daily
WHERE day > today() - {days:UInt16}
GROUP BY tool_name
HAVING calls > 0
ORDER BY p95_ms DESC, tool_name
