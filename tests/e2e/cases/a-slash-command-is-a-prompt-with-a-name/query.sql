-- /compact after a prompt, a custom command alone, a prompt and /exit.
SELECT left(session_id, 6) AS session, prompts_by_people, commands, prompts_synthetic
FROM sessions
WHERE session_id IN {sessions:Array(String)}
ORDER BY started
