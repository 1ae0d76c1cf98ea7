SELECT
    session_id,
    min(first) AS started,
    max(last_prompt) AS asked_last,
    sum(in_prompt) AS edits,
    sum(failed) AS failed_edits,
    max(in_prompt) AS most_edits_in_a_prompt,
    countIf(in_prompt >= 5) AS prompts_with_many_edits,
    length(arrayFilter(rejected -> rejected < asked_last, groupArrayArray(rejections))) AS prompted_anew
FROM
(
    SELECT
        LogAttributes['session.id'] AS session_id,
        min(Timestamp) AS first,
        maxIf(Timestamp, Body = 'user_prompt') AS last_prompt,
        countIf(Body = 'tool_result' AND LogAttributes['success'] = 'true'
            AND LogAttributes['tool_name'] IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit')) AS in_prompt,
        countIf(Body = 'tool_result' AND LogAttributes['success'] = 'false'
            AND LogAttributes['tool_name'] IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit')) AS failed,
        groupArrayIf(Timestamp, Body = 'tool_decision' AND LogAttributes['source'] = 'user_reject') AS rejections
    FROM stock_otel_logs
    WHERE Timestamp >= today() - {days:UInt16} + 1 AND Body IN ('user_prompt', 'tool_decision', 'tool_result')
    GROUP BY session_id, LogAttributes['prompt.id']
)
GROUP BY session_id
HAVING prompts_with_many_edits > 0 OR prompted_anew > 0
ORDER BY most_edits_in_a_prompt DESC, prompted_anew DESC, started DESC, session_id
LIMIT {limit:UInt32}
