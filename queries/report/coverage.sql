-- What is the report made of?
--
-- days_past_retention: their events are gone, so they are in the figures of the month, the budget, the days,
-- the chapters and the error rates only. requests_without_cost: the client reported none; they are in no sum.
-- param month Date : its first day
SELECT
    formatDateTime({month:Date}, '%Y-%m') AS month,
    count() AS days_with_data,
    nullIf(min(day), toDate(0)) AS first_day,
    nullIf(max(day), toDate(0)) AS last_day,
    countIf(day <= today() - (SELECT events_days FROM retention)) AS days_past_retention,
    (SELECT sumOrNull(requests_without_cost) FROM usage_daily WHERE toStartOfMonth(day) = {month:Date}) AS requests_without_cost
FROM (SELECT DISTINCT day FROM daily_metrics WHERE toStartOfMonth(day) = {month:Date})
