-- How long do we wait for each model?
--
-- Milliseconds; p50 and p95 are estimates (t-digest). Only the last try of a request counts: the client
-- reports no other.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    model,
    sum(requests) AS requests,
    sum(retried) AS retried,
    round(quantilesTDigestWeightedMerge(0.5, 0.95)(duration_quantiles)[1]) AS p50_ms,
    round(quantilesTDigestWeightedMerge(0.5, 0.95)(duration_quantiles)[2]) AS p95_ms,
    round(sum(duration_ms) / 3600000, 2) AS total_h
FROM usage_daily
WHERE day > today() - {days:UInt16}
GROUP BY model
ORDER BY p95_ms DESC, model
