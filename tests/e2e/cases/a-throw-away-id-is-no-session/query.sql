-- A process that resumes a session starts up under an id that never returns.
SELECT
    left(session_id, 6) AS throw_away,
    count() AS events,
    (SELECT sum(value) FROM metric_points
     WHERE metric = 'claude_code.session.count' AND session_id IN {sessions:Array(String)}) AS processes,
    (SELECT count() FROM sessions WHERE session_id IN {sessions:Array(String)}) AS sessions
FROM telemetry_events
WHERE session_id IN {sessions:Array(String)} AND session_id NOT IN (SELECT session_id FROM sessions)
GROUP BY throw_away
