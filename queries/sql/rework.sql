-- Where was work done again?
--
-- Edits (of whichever file: paths are not collected) that one prompt needed, five or more being many, and
-- prompts that followed a rejection. Sessions with neither are left out. Clients before 2.1.73 do not tell
-- which prompt an edit belongs to. Edits before and after midnight (UTC) are not taken together.
-- param days UInt16 = 30 : days to look back, today included
-- param limit UInt32 = 20 : sessions to show
SELECT
    session_id,
    member,
    argMax(s.chapter, s.ended) AS chapter,
    min(s.started) AS started,
    sum(s.edits / s.session_weight) AS edits,
    sum(s.failed_edits) AS failed_edits,
    max(arrayMax(s.edits_by_prompt) / s.session_weight) AS most_edits_in_a_prompt,
    sum(arrayCount(edits -> edits / s.session_weight >= 5, s.edits_by_prompt)) AS prompts_with_many_edits,
    sum(s.prompts_after_rejection) AS prompts_after_rejection
FROM
(
    SELECT session_id, member, chapter, toNullable(started) AS started, ended, edits, failed_edits, edits_by_prompt, 0 AS prompts_after_rejection, session_weight
    FROM sessions_daily
    WHERE day > today() - least({days:UInt16}, 20000) AND session_weight > 0
    UNION ALL
    SELECT session_id, member, chapter, NULL, ts, 0, 0, [], 1, 1
    FROM validations
    WHERE day > today() - least({days:UInt16}, 20000) AND outcome = 'modified'
) AS s
WHERE session_id != ''
GROUP BY member, session_id
HAVING prompts_with_many_edits > 0 OR prompts_after_rejection > 0
ORDER BY most_edits_in_a_prompt DESC, prompts_after_rejection DESC, started DESC, session_id
LIMIT {limit:UInt32}
