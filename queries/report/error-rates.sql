-- How much failed, and was it less the month before?
--
-- Rates in percent. An API error is a request that was given up; tries that a retry cured are not reported by
-- the client. A month that still runs is compared with the same days of the month before.
-- param month Date : its first day
-- param through UInt8 = 31 : the last day of the month before that counts
SELECT
    tupleElement(row, 1) AS kind,
    tupleElement(row, 2) AS tried,
    tupleElement(row, 3) AS failed,
    round(100 * failed / nullIf(tried, 0), 2) AS rate,
    round(100 * tupleElement(row, 5) / nullIf(tupleElement(row, 4), 0), 2) AS rate_before
FROM
(
    SELECT arrayJoin([
        ('API requests', sumIf(requests + api_errors, this), sumIf(api_errors, this), sumIf(requests + api_errors, NOT this), sumIf(api_errors, NOT this)),
        ('tool calls', sumIf(tool_calls, this), sumIf(tool_failures, this), sumIf(tool_calls, NOT this), sumIf(tool_failures, NOT this))]) AS row
    FROM (SELECT *, toStartOfMonth(day) = {month:Date} AS this FROM daily_metrics)
    WHERE this OR (toStartOfMonth(day) = addMonths({month:Date}, -1) AND toDayOfMonth(day) <= {through:UInt8})
)
