SELECT
    toHour(toTimeZone(Timestamp, {timezone:String})) AS hour_of_day,
    countIf(Body = 'user_prompt') AS prompts,
    countIf(Body = 'api_request') AS requests,
    countIf(Body = 'tool_result') AS tool_calls,
    countIf(Body = 'api_error' OR LogAttributes['success'] = 'false') AS failures,
    sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS cost_usd
FROM stock_otel_logs
WHERE Timestamp >= today() - {days:UInt16} + 1
GROUP BY hour_of_day
ORDER BY hour_of_day
