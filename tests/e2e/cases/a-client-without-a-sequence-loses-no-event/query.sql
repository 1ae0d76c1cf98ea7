-- Old clients number nothing and print costs as binary fractions: 0.020624999999999998.
SELECT left(session_id, 6) AS session, prompts_by_people, requests, cost_usd, input_tokens
FROM sessions
WHERE session_id IN {sessions:Array(String)}
ORDER BY started
