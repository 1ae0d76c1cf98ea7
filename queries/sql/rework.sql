-- Where was work done again?
--
-- Edits (of whichever file: paths are not collected) that one prompt needed, five or more being many, and
-- prompts that followed a rejection. Sessions with neither are left out. Clients before 2.1.73 do not tell
-- which prompt an edit belongs to.
-- param days UInt16 = 30 : days to look back, today included
-- param limit UInt32 = 20 : sessions to show
SELECT
    s.session_id AS session_id,
    s.member AS member,
    any(s.chapter) AS chapter,
    min(s.started) AS started,
    sum(s.edits) AS edits,
    sum(s.failed_edits) AS failed_edits,
    max(arrayMax(s.edits_by_prompt)) AS most_edits_in_a_prompt,
    sum(arrayCount(edits -> edits >= 5, s.edits_by_prompt)) AS prompts_with_many_edits,
    any(v.prompted_anew) AS prompted_anew
FROM sessions_daily AS s
LEFT ANY JOIN
(
    SELECT member, session_id, sumIf(weight, outcome = 'modified') AS prompted_anew
    FROM validations
    WHERE day > today() - {days:UInt16}
    GROUP BY member, session_id
) AS v ON s.member = v.member AND s.session_id = v.session_id
WHERE s.day > today() - {days:UInt16}
GROUP BY member, session_id
HAVING prompts_with_many_edits > 0 OR prompted_anew > 0
ORDER BY most_edits_in_a_prompt DESC, prompted_anew DESC, started DESC, session_id
LIMIT {limit:UInt32}
