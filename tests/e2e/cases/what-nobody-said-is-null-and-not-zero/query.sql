-- A session without an answer has no cost; an old client measures no active time.
SELECT client_version, requests, api_errors, cost_usd IS NULL AS no_cost, active_s IS NULL AS no_active_time
FROM sessions
WHERE session_id IN {sessions:Array(String)}
ORDER BY client_version, requests
