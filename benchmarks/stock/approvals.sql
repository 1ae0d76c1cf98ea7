SELECT
    d.1 AS tool_name,
    countIf(d.2 = 'accept') AS approved,
    countIf(d.2 = 'reject' AND last_prompt > d.3) AS modified,
    countIf(d.2 = 'reject' AND last_prompt <= d.3) AS rejected,
    round(100 * approved / count(), 1) AS approval_rate
FROM
(
    SELECT
        groupArrayIf(
            (LogAttributes['tool_name'], LogAttributes['decision'], Timestamp),
            Body = 'tool_decision' AND startsWith(LogAttributes['source'], 'user_')) AS decisions,
        maxIf(Timestamp, Body = 'user_prompt') AS last_prompt
    FROM stock_otel_logs
    WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body IN ('tool_decision', 'user_prompt')
    GROUP BY toDate(Timestamp), LogAttributes['session.id']
)
ARRAY JOIN decisions AS d
GROUP BY tool_name
ORDER BY count() DESC, tool_name
