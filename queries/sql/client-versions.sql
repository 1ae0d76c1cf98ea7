-- Which versions of Claude Code are in use, and what can they not report?
--
-- What a version cannot report is unknown, not zero. The versions are those in which each was first seen.
-- param days UInt16 = 30 : days to look back, today included
WITH
    [
        ('2.1.15', 'event.sequence (gaps cannot be seen)'),
        ('2.1.73', 'prompt.id (prompts cannot be told apart)'),
        ('2.1.73', 'tool decisions'),
        ('2.1.120', 'request_id, query_source, effort of a request'),
        ('2.1.120', 'tool_use_id (a decision cannot be joined to its result)'),
        ('2.1.163', 'exact cost (cost_usd_micros)'),
        ('2.1.163', 'active time'),
        ('2.1.200', 'answers (assistant_response)'),
        ('2.1.281', 'time to the first token'),
        ('2.1.281', 'plugins and managed settings'),
        ('2.1.330', 'for how long the cache was written'),
        ('2.1.330', 'permission mode of a decision')
    ] AS abilities,
    v -> arrayMap(part -> toUInt32OrZero(part), splitByChar('.', v)) AS number
SELECT
    client_version,
    uniqExact(member) AS members,
    toUInt64(round(arraySum(mapValues(minMapIf(map(cityHash64(member, session_id), counts_as), counts_as > 0))))) AS sessions,
    max(ended) AS last_seen,
    arrayMap(ability -> ability.2, arrayFilter(ability -> number(toString(client_version)) < number(ability.1), abilities)) AS cannot_report
FROM sessions_daily
WHERE day > today() - least({days:UInt16}, 20000)
GROUP BY client_version
ORDER BY number(toString(client_version)) DESC
