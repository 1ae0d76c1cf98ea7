-- Which failures do several members share, and were there fewer the month before?
--
-- Each stood on a day of its team under at least as many members as the cohort floor says (`floor`); what fewer met
-- is counted as `(under floor)`, for its team as a whole. teams: how many teams met it. error: the text with quoted
-- parts, paths and numbers replaced. `api_retries_exhausted` is left out: each is an `api_error` as well.
-- param month Date : its first day
-- param through UInt8 = 31 : the last day of the month before that counts
SELECT
    error,
    event,
    tool_name AS tool,
    error_type,
    sumIf(errors, this) AS times,
    sumIf(errors, NOT this) AS times_before,
    uniqExactIf(day, this) AS days,
    uniqExactIf(team, this) AS teams,
    (SELECT members FROM cohort_floor) AS floor
FROM
(
    SELECT day, team, error, event, tool_name, error_type, errors, toStartOfMonth(day) = {month:Date} AS this
    FROM errors_daily
    WHERE event != 'api_retries_exhausted'
        AND (toStartOfMonth(day) = {month:Date}
            OR (toStartOfMonth(day) = addMonths({month:Date}, -1) AND toDayOfMonth(day) <= {through:UInt8}))
)
GROUP BY error, event, tool_name, error_type
HAVING times > 0
ORDER BY error = '(under floor)', times DESC, error, event, tool, error_type
LIMIT 25
