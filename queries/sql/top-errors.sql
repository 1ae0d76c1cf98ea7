-- Which errors come again and again?
--
-- error: the text with quoted parts, paths and numbers replaced. api_retries_exhausted is left out: each is
-- an api_error as well.
-- param days UInt16 = 30 : days to look back, today included
-- param limit UInt32 = 20 : errors to show
SELECT
    event,
    error_type,
    status_code,
    argMax(tool_name, last_ts) AS tool,
    error,
    sum(errors) AS times,
    uniqExact(member) AS members,
    max(last_ts) AS last_seen
FROM errors_daily
WHERE day > today() - least({days:UInt16}, 20000) AND event != 'api_retries_exhausted'
GROUP BY event, error_type, status_code, error
ORDER BY times DESC, last_seen DESC, error
LIMIT {limit:UInt32}
