-- How long do we wait for each model?
--
-- Milliseconds; p50 and p95 are within 5 %. Only the last try of a request counts: the client
-- reports no other.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    model,
    sum(d.events) AS requests,
    quantileExactWeighted(0.5)(d.about_ms, toUInt64(round(d.events))) AS p50_ms,
    quantileExactWeighted(0.95)(d.about_ms, toUInt64(round(d.events))) AS p95_ms,
    round(sum(d.duration_ms) / 3600000, 2) AS total_h
FROM durations_daily AS d
WHERE day > today() - least({days:UInt16}, 20000) AND event = 'api_request'
GROUP BY model
ORDER BY p95_ms DESC, model
