-- What changed against the week before?
--
-- The last seven days, today included, against the seven before. change in percent.
SELECT
    tupleElement(row, 1) AS figure,
    tupleElement(row, 2) AS this_week,
    tupleElement(row, 3) AS week_before,
    round(100 * (this_week - week_before) / nullIf(week_before, 0), 1) AS change
FROM
(
    SELECT arrayJoin([
        ('cost_usd', toFloat64(ifNull(sumIf(cost_usd, recent), 0)), toFloat64(ifNull(sumIf(cost_usd, NOT recent), 0))),
        ('sessions', toFloat64(uniqExactIf(session_id, recent AND requests > 0)), toFloat64(uniqExactIf(session_id, NOT recent AND requests > 0))),
        ('prompts', sumIf(prompts, recent), sumIf(prompts, NOT recent)),
        ('requests', sumIf(requests, recent), sumIf(requests, NOT recent)),
        ('output_tokens', ifNull(sumIf(output_tokens, recent), 0), ifNull(sumIf(output_tokens, NOT recent), 0)),
        ('tool_calls', sumIf(tool_calls, recent), sumIf(tool_calls, NOT recent)),
        ('tool_failures', sumIf(tool_failures, recent), sumIf(tool_failures, NOT recent)),
        ('api_errors', sumIf(api_errors, recent), sumIf(api_errors, NOT recent)),
        ('rejected', sumIf(rejected, recent), sumIf(rejected, NOT recent))]) AS row
    FROM (SELECT *, day > today() - 7 AS recent FROM sessions_daily WHERE day > today() - 14)
)
