-- Where was work done again?
--
-- Edits (of whichever file: paths are not collected) that one prompt needed, and prompts that followed a
-- rejection. Sessions with neither are left out.
-- param days UInt16 = 30 : days to look back, today included
-- param edits UInt32 = 5 : edits within one prompt that count as many
-- param limit UInt32 = 20 : sessions to show
SELECT
    p.session_id AS session_id,
    p.member AS member,
    p.chapter AS chapter,
    p.started AS started,
    p.edits AS edits,
    p.most_edits AS most_edits_in_a_prompt,
    p.prompts_with_many AS prompts_with_many_edits,
    p.failed_edits AS failed_edits,
    v.prompted_anew AS prompted_anew
FROM
(
    SELECT
        member, session_id,
        any(prompt_chapter) AS chapter,
        min(first) AS started,
        sum(in_prompt) AS edits,
        sum(failed) AS failed_edits,
        max(in_prompt) AS most_edits,
        countIf(in_prompt >= {edits:UInt32}) AS prompts_with_many
    FROM
    (
        SELECT
            member, session_id, prompt_id,
            any(chapter) AS prompt_chapter,
            min(ts) AS first,
            sumIf(weight, success) AS in_prompt,
            sumIf(weight, success = false) AS failed
        FROM labelled_events
        WHERE ts >= today() - {days:UInt16} + 1 AND event = 'tool_result'
            AND tool_name IN ('Edit', 'MultiEdit', 'Write', 'NotebookEdit')
        GROUP BY member, session_id, prompt_id
    )
    GROUP BY member, session_id
) AS p
LEFT JOIN
(
    SELECT member, session_id, sumIf(weight, outcome = 'modified') AS prompted_anew
    FROM validations
    WHERE day > today() - {days:UInt16}
    GROUP BY member, session_id
) AS v ON p.member = v.member AND p.session_id = v.session_id
WHERE prompts_with_many_edits > 0 OR prompted_anew > 0
ORDER BY most_edits_in_a_prompt DESC, prompted_anew DESC, started DESC, session_id
LIMIT {limit:UInt32}
