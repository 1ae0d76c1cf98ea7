-- Where was work done again?
--
-- Edits (of whichever file: paths are not collected) that one prompt needed, five or more being many, and
-- prompts that followed a rejection. Sessions with neither are left out. Clients before 2.1.73 do not tell
-- which prompt an edit belongs to.
-- param days UInt16 = 30 : days to look back, today included
-- param limit UInt32 = 20 : sessions to show
SELECT
    session_id,
    member,
    any(s.chapter) AS chapter,
    min(s.started) AS started,
    sum(s.edits) AS edits,
    sum(s.failed_edits) AS failed_edits,
    max(arrayMax(s.edits_by_prompt)) AS most_edits_in_a_prompt,
    sum(arrayCount(edits -> edits >= 5, s.edits_by_prompt)) AS prompts_with_many_edits,
    sum(s.prompted_anew) AS prompted_anew
FROM
(
    SELECT session_id, member, chapter, toNullable(started) AS started, edits, failed_edits, edits_by_prompt, 0 AS prompted_anew
    FROM sessions_daily
    WHERE day > today() - {days:UInt16}
    UNION ALL
    SELECT session_id, member, chapter, NULL, 0, 0, [], weight
    FROM validations
    WHERE day > today() - {days:UInt16} AND outcome = 'modified'
) AS s
GROUP BY member, session_id
HAVING prompts_with_many_edits > 0 OR prompted_anew > 0
ORDER BY most_edits_in_a_prompt DESC, prompted_anew DESC, started DESC, session_id
LIMIT {limit:UInt32}
