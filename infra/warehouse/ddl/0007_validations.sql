-- What people decided when they were asked: one row a decision.
--
-- modified: rejected, and then prompted anew in the same session. Decisions that a rule, a mode or a hook
-- made are not here.
CREATE OR REPLACE VIEW telemetry.validations
AS SELECT
    d.ts AS ts,
    toDate(d.ts) AS day,
    d.member AS member,
    d.session_id AS session_id,
    d.team AS team,
    d.chapter AS chapter,
    d.tool_name AS tool_name,
    d.permission_mode AS permission_mode,
    d.decision_source AS decision_source,
    multiIf(d.decision = 'accept', 'approved', p.ts > d.ts, 'modified', 'rejected') AS outcome,
    d.weight AS weight
FROM
(
    SELECT ts, member, session_id, team, chapter, tool_name, permission_mode, decision, decision_source, weight
    FROM telemetry.labelled_events
    WHERE event = 'tool_decision' AND event_type = 'validation_result'
) AS d
ASOF LEFT JOIN
(
    SELECT ts, member, session_id
    FROM telemetry.telemetry_events FINAL
    WHERE event = 'user_prompt' AND command_name NOT IN ('exit', 'quit', 'clear') AND synthetic = ''
) AS p
    ON d.member = p.member AND d.session_id = p.session_id AND p.ts > d.ts;
