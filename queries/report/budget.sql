-- Will the month stay within the budget?
--
-- forecast_usd: what is spent, and as much a day for the rest of the month as on the days so far, today counted
-- by its part; coarse in the first days. The budget is the setting `budget.monthlyUsd`.
-- param month Date : its first day
SELECT
    formatDateTime({month:Date}, '%Y-%m') AS month,
    (SELECT sum(cost_usd) FROM daily_metrics WHERE toStartOfMonth(day) = {month:Date}) AS spent_usd,
    round(toFloat64(spent_usd) * days / days_gone, 2) AS forecast_usd,
    nullIf((SELECT monthly_usd FROM budget), 0) AS budget_usd,
    round(100 * toFloat64(spent_usd) / toFloat64(budget_usd), 1) AS spent_percent,
    round(100 * forecast_usd / toFloat64(budget_usd), 1) AS forecast_percent
FROM
(
    SELECT
        dateDiff('day', {month:Date}, addMonths({month:Date}, 1)) AS days,
        least(greatest(dateDiff('second', toDateTime({month:Date}, 'UTC'), now('UTC')) / 86400, 0.01), toFloat64(days)) AS days_gone
)
