-- What did people approve and reject when they were asked?
--
-- modified: rejected, and then prompted anew in the same session. What a rule or a mode decided is not here.
-- param month Date : its first day
SELECT
    tool_name,
    sumIf(weight, outcome = 'approved') AS approved,
    sumIf(weight, outcome = 'modified') AS modified,
    sumIf(weight, outcome = 'rejected') AS rejected,
    round(100 * approved / sum(weight), 1) AS approval_rate
FROM validations
WHERE toStartOfMonth(day) = {month:Date}
GROUP BY tool_name
ORDER BY sum(weight) DESC, tool_name
