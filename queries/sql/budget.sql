-- Will the month stay within the budget?
--
-- forecast_usd: what is spent, and as much a day for the rest of the month as on the days so far, today
-- counts for the hours gone. Requests whose client reported no cost are not in it. The budget is the setting
-- budget.monthlyUsd; unknown where none is set.
-- param month String = : month such as 2026-11; empty means this one
WITH
    parseDateTimeOrNull(if({month:String} = '', formatDateTime(today(), '%Y-%m'), {month:String}), '%Y-%m', 'UTC') AS asked,
    toDate(assumeNotNull(asked)) AS first_day,
    dateDiff('day', first_day, addMonths(first_day, 1)) AS days,
    least(greatest(dateDiff('second', toDateTime(first_day, 'UTC'), now('UTC')) / 86400, 0.01), toFloat64(days)) AS days_gone
SELECT
    if(throwIf(asked IS NULL, 'month is such as 2026-11'), '', formatDateTime(first_day, '%Y-%m')) AS month,
    sum(requests) AS requests,
    sum(u.requests_without_cost) AS requests_without_cost,
    if(count() = 0, toDecimal128(0, 9), sum(cost_usd)) AS spent_usd,
    round(toFloat64(spent_usd) * days / days_gone, 2) AS forecast_usd,
    nullIf((SELECT monthly_usd FROM budget), 0) AS budget_usd,
    round(100 * toFloat64(spent_usd) / toFloat64(budget_usd), 1) AS spent_percent,
    round(100 * forecast_usd / toFloat64(budget_usd), 1) AS forecast_percent
FROM usage_daily AS u
WHERE u.day >= first_day AND u.day < addMonths(first_day, 1)
