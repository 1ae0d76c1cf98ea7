-- What do subagents cost, beside the main conversation?
--
-- param days UInt16 = 30 : days to look back, today included
SELECT
    multiIf(agent_name != '', agent_name, startsWith(query_source, 'agent:'), splitByChar(':', query_source)[-1], query_source = 'compact', '(compaction)', '(main)') AS agent,
    sum(s.requests) AS requests,
    sum(s.input_tokens) + sum(s.cache_read_tokens) + sum(s.cache_creation_tokens) AS tokens_read,
    sum(s.output_tokens) AS tokens_written,
    sum(s.cost_usd) AS cost_usd,
    round(100 * toFloat64(cost_usd) / sum(sum(toFloat64(s.cost_usd))) OVER (), 1) AS share
FROM usage_daily AS s
WHERE day > today() - {days:UInt16}
GROUP BY agent
ORDER BY cost_usd DESC, agent
