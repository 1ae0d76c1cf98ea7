-- Three processes: a first one, one that resumed it (--continue), one that went on from it as a
-- session of its own (--fork-session). Two sessions.
SELECT left(session_id, 6) AS session, prompts_by_people, requests, cost_usd, events
FROM sessions
WHERE session_id IN {sessions:Array(String)}
ORDER BY started
