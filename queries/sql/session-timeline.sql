-- What happened in one session, step by step?
--
-- param session String : the session's id, as `telemetry query sessions` shows it
SELECT
    ts,
    event,
    multiIf(
        event IN ('tool_result', 'tool_decision'), concat(tool_name, if(decision = '', '', concat(' ', decision, ' by ', decision_source))),
        event = 'user_prompt' AND command_name != '', concat('/', command_name),
        model != '', toString(model),
        '') AS what,
    if(error != '', error, toString(error_type)) AS error,
    success,
    duration_ms,
    input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens,
    cost_usd
FROM telemetry_events
WHERE session_id = {session:String}
ORDER BY ts, seq, event, record_hash
