-- What do subagents cost, beside the main conversation?
--
-- tokens_sent: input, read from the cache and written to it. share: part of the whole cost, in percent.
-- Clients before 2.1.120 do not tell subagents from the rest: `(main)`.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    multiIf(agent_name != '', agent_name, startsWith(query_source, 'agent:'), splitByChar(':', query_source)[-1], query_source = 'compact', '(compaction)', '(main)') AS agent,
    sum(s.requests) AS requests,
    sum(s.input_tokens) + sum(s.cache_read_tokens) + sum(s.cache_creation_tokens) AS tokens_sent,
    sum(s.output_tokens) AS tokens_written,
    sum(s.cost_usd) AS cost_usd,
    round(100 * toFloat64(cost_usd) / nullIf(sum(sum(toFloat64(s.cost_usd))) OVER (), 0), 1) AS share
FROM usage_daily AS s
WHERE day > today() - least({days:UInt16}, 20000)
GROUP BY agent
ORDER BY cost_usd DESC, agent
