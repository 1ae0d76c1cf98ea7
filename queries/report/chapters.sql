-- What did each chapter cost?
--
-- Work that no chapter is known for is `(none)`.
-- param month Date : its first day
SELECT
    if(s.chapter = '', '(none)', s.chapter) AS chapter,
    sum(s.cost_usd) AS cost_usd,
    round(100 * toFloat64(cost_usd) / nullIf(sum(sum(toFloat64(s.cost_usd))) OVER (), 0), 1) AS share,
    sum(s.requests) AS requests,
    sum(s.output_tokens) AS output_tokens
FROM daily_metrics AS s
WHERE toStartOfMonth(day) = {month:Date}
GROUP BY s.chapter
ORDER BY cost_usd DESC, chapter
