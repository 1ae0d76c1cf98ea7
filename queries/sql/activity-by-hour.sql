-- When do we work?
--
-- In zones that differ by half an hour the half hour is lost: events are counted by the hour in UTC.
-- param days UInt16 = 30 : days to look back, today included
-- param timezone String = UTC : whose clock, such as Europe/Madrid
SELECT
    toHour(toTimeZone(hour, {timezone:String})) AS hour_of_day,
    sum(prompts) AS prompts,
    sum(requests) AS requests,
    sum(tool_calls) AS tool_calls,
    sum(failures) AS failures,
    sum(cost_usd) AS cost_usd
FROM activity_hourly
WHERE day > today() - least({days:UInt16}, 20000)
GROUP BY hour_of_day
ORDER BY hour_of_day
