-- One compaction, by two requests of its own.
SELECT
    countIf(event = 'compaction' AND success) AS compactions,
    anyIf(extra['pre_tokens'], event = 'compaction') AS before,
    anyIf(extra['post_tokens'], event = 'compaction') AS after,
    countIf(event = 'api_request') AS requests,
    countIf(event = 'api_request' AND query_source = 'compact') AS requests_to_compact,
    sumIf(cost_usd * weight, query_source = 'compact') AS usd_to_compact,
    (SELECT sum(compactions) FROM sessions WHERE session_id IN {sessions:Array(String)}) AS by_session
FROM telemetry_events
WHERE session_id IN {sessions:Array(String)}
