-- Which ten errors came most often?
--
-- error: the text with quoted parts, paths and numbers replaced. `api_retries_exhausted` is left out: each is
-- an `api_error` as well.
-- param month Date : its first day
SELECT
    row_number() OVER (ORDER BY times DESC, last_seen DESC, error) AS rank,
    sum(errors) AS times,
    error,
    event,
    error_type,
    ifNull(toString(e.status_code), '') AS status,
    any(tool_name) AS tool,
    max(last_ts) AS last_seen
FROM errors_daily AS e
WHERE toStartOfMonth(day) = {month:Date} AND event != 'api_retries_exhausted'
GROUP BY event, error_type, e.status_code, error
ORDER BY rank
LIMIT 10
