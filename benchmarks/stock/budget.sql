WITH toStartOfMonth(if({month:String} = '', today(), toDateOrZero(concat({month:String}, '-01')))) AS first_day
SELECT sum(toFloat64OrZero(LogAttributes['cost_usd'])) AS spent_usd
FROM stock_otel_logs
WHERE Body = 'api_request' AND Timestamp >= first_day AND Timestamp < addMonths(first_day, 1)
