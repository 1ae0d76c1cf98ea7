-- The same work under both temporalities. Of a cumulative series (told by its start and its
-- attributes) the last point counts; the events say the same under either.
SELECT
    p.temporality AS temporality,
    p.points AS points,
    round(p.added_up, 6) AS usd_added_up,
    round(if(temporality = 'delta', p.added_up, p.last), 6) AS usd,
    s.cost_usd AS usd_by_events,
    round(s.active_s, 3) AS active_s
FROM
(
    SELECT session_id, temporality, start_ts, model, query_source,
        count() AS points, sum(value) AS added_up, argMax(value, ts) AS last
    FROM metric_points
    WHERE metric = 'claude_code.cost.usage' AND session_id IN {sessions:Array(String)}
    GROUP BY ALL
) AS p
JOIN sessions AS s ON s.session_id = p.session_id
ORDER BY temporality
