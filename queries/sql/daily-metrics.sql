-- What was each day like, also long ago?
--
-- Days are kept for ever, without members.
-- param days UInt16 = 365 : days to look back, today included
SELECT *
FROM daily_metrics
WHERE day > today() - least({days:UInt16}, 20000)
ORDER BY day, team, chapter
