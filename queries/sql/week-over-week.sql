-- What changed against the week before?
--
-- The last seven days, today included, against the seven before. change: how much more or less, in percent of
-- the week before.
SELECT
    tupleElement(row, 1) AS figure,
    tupleElement(row, 2) AS this_week,
    tupleElement(row, 3) AS week_before,
    round(100 * (this_week - week_before) / nullIf(week_before, 0), 1) AS change
FROM
(
    SELECT arrayJoin([
        ('cost_usd', toFloat64(sumIf(cost_usd, recent)), toFloat64(sumIf(cost_usd, NOT recent))),
        ('sessions', toFloat64(uniqExactIf(session_id, recent AND session_id != '' AND requests > 0)), toFloat64(uniqExactIf(session_id, NOT recent AND session_id != '' AND requests > 0))),
        ('prompts', sumIf(prompts, recent), sumIf(prompts, NOT recent)),
        ('requests', sumIf(requests, recent), sumIf(requests, NOT recent)),
        ('output_tokens', sumIf(output_tokens, recent), sumIf(output_tokens, NOT recent)),
        ('tool_calls', sumIf(tool_calls, recent), sumIf(tool_calls, NOT recent)),
        ('tool_failures', sumIf(tool_failures, recent), sumIf(tool_failures, NOT recent)),
        ('api_errors', sumIf(api_errors, recent), sumIf(api_errors, NOT recent)),
        ('rejected', sumIf(rejected, recent), sumIf(rejected, NOT recent))]) AS row
    FROM (SELECT *, day > today() - 7 AS recent FROM sessions_daily WHERE day > today() - 14)
)
