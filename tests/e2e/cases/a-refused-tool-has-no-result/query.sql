SELECT
    left(d.session_id, 6) AS session, d.tool_name AS tool, d.decision AS decision,
    d.decision_source AS decision_source, countIf(r.tool_use_id != '') AS results
FROM (SELECT * FROM telemetry_events WHERE event = 'tool_decision') AS d
LEFT JOIN (SELECT tool_use_id FROM telemetry_events WHERE event = 'tool_result') AS r
    ON d.tool_use_id = r.tool_use_id
WHERE d.session_id IN {sessions:Array(String)}
GROUP BY session, tool, decision, decision_source
ORDER BY min(d.ts)
