-- Given up at once, and after three attempts: api_retries_exhausted tells of the same failure.
SELECT
    left(session_id, 6) AS session,
    countIf(event = 'api_error') AS api_errors,
    countIf(event = 'api_retries_exhausted') AS exhausted,
    anyIf(attempt, event = 'api_error') AS attempts,
    anyIf(status_code, event = 'api_error') AS status,
    anyIf(error_type, event = 'api_error') AS kind,
    (SELECT sum(api_errors) FROM sessions WHERE session_id IN {sessions:Array(String)}) AS errors_of_both
FROM telemetry_events
WHERE session_id IN {sessions:Array(String)}
GROUP BY session
ORDER BY min(ts)
