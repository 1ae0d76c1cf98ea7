-- Which attributes came with events or data points, and were dropped because nobody has listed them?
--
-- A new version of the client brings new ones: see infra/collector/rules/attributes.yaml and refused.yaml.
-- `(odd name)` stands for any that is not made of plain words. Each has been dropped before it was stored.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    arrayJoin(dropped)::String AS attribute,
    sum(weight) AS events_or_points,
    arraySort(groupUniqArray(20)(came_with)) AS came_with,
    min(ts) AS first_seen,
    max(ts) AS last_seen,
    arraySort(groupUniqArray(20)(client_version::String)) AS client_versions
FROM
(
    SELECT ts, event::String AS came_with, client_version, weight, dropped FROM telemetry_events
    UNION ALL
    SELECT ts, metric::String AS came_with, client_version, weight, dropped FROM metric_points
)
WHERE notEmpty(dropped) AND toDate(ts) > today() - least({days:UInt16}, 20000)
GROUP BY attribute
ORDER BY events_or_points DESC, attribute
