-- 429 once, 529 twice, a broken stream: what remains is time. duration_ms is the last attempt's.
SELECT
    left(session_id, 6) AS session,
    countIf(event = 'api_request') AS requests,
    countIf(event IN ('api_error', 'api_retries_exhausted')) AS errors,
    anyIf(duration_ms, event = 'api_request') AS duration_ms,
    dateDiff('millisecond', minIf(ts, event = 'user_prompt'), minIf(ts, event = 'api_request')) AS waited_ms
FROM telemetry_events
WHERE session_id IN {sessions:Array(String)}
GROUP BY session
ORDER BY min(ts)
