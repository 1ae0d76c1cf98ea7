-- A person asked once; the subagent that ran in the background reported by a prompt of its own.
SELECT client_version, prompts_by_people, prompts_synthetic, subagents, requests, cost_usd
FROM sessions
WHERE session_id IN {sessions:Array(String)}
ORDER BY client_version
