-- What did people approve and reject when they were asked?
--
-- modified: rejected, and then prompted anew in the same session. rejected: and not prompted anew.
-- approval_rate: percent of all decisions. What a rule or a mode decided is not here.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    tool_name,
    sumIf(weight, outcome = 'approved') AS approved,
    sumIf(weight, outcome = 'modified') AS modified,
    sumIf(weight, outcome = 'rejected') AS rejected,
    round(100 * approved / sum(weight), 1) AS approval_rate
FROM validations
WHERE day > today() - least({days:UInt16}, 20000)
GROUP BY tool_name
ORDER BY sum(weight) DESC, tool_name
