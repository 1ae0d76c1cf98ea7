-- The model called four tools; two of the calls were invalid, two ran and failed.
SELECT
    countIf(event = 'api_request') AS requests,
    countIf(event = 'tool_decision') AS decisions,
    countIf(event = 'tool_result') AS results,
    countIf(event = 'tool_result' AND success = false) AS failures
FROM telemetry_events
WHERE session_id IN {sessions:Array(String)}
