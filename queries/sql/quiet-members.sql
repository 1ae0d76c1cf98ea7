-- Who has sent nothing for longer than they usually do?
--
-- A holiday, or telemetry that was switched off or broke unseen.
-- usual_gap_days: nine of ten times a member was back after so many days or fewer. Shown are those who have been quiet
-- for more than twice as long, and for more than three days; of members with five days of work or more.
-- param days UInt16 = 60 : days to look back, today included
WITH
    arraySort(groupUniqArray(day)) AS worked,
    arrayReduce('quantileExact(0.9)', arrayMap(
        (a, b) -> dateDiff('day', a, b), arrayPopBack(worked), arrayPopFront(worked))) AS usual
SELECT
    member,
    max(ended) AS last_event,
    dateDiff('day', max(day), today()) AS quiet_days,
    usual AS usual_gap_days,
    length(worked) AS days_of_work
FROM sessions_daily
WHERE day > today() - least({days:UInt16}, 20000)
GROUP BY member
HAVING days_of_work >= 5 AND quiet_days > greatest(3, 2 * usual_gap_days)
ORDER BY quiet_days DESC, member
