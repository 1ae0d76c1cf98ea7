-- The first session was refused twice by a rule; in the second a person said yes once and no once.
SELECT left(session_id, 6) AS session, approved, rejected, tool_calls
FROM sessions
WHERE session_id IN {sessions:Array(String)}
ORDER BY started
