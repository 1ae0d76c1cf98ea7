-- Do more requests and tools fail than before?
--
-- Rates in percent. An API error is a request that was given up; tries that a retry cured are not reported
-- by the client.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    day,
    sum(requests) AS requests,
    sum(api_errors) AS api_errors,
    round(100 * api_errors / nullIf(requests + api_errors, 0), 2) AS api_error_rate,
    sum(tool_calls) AS tool_calls,
    sum(tool_failures) AS tool_failures,
    round(100 * tool_failures / nullIf(tool_calls, 0), 2) AS tool_failure_rate
FROM sessions_daily
WHERE day > today() - least({days:UInt16}, 20000)
GROUP BY day
ORDER BY day
