-- Each process counts from 0, so a session may hold a number twice: order by ts, then seq.
SELECT left(session_id, 6) AS session, count() AS events, uniqExact(seq) AS numbers, max(seq) AS last
FROM telemetry_events
WHERE session_id IN {sessions:Array(String)}
GROUP BY session
ORDER BY min(ts)
