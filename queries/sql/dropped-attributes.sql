-- Which attributes came with events or data points, and were dropped because nobody has listed them?
--
-- A new version of the client brings new ones: see infra/collector/rules/attributes.yaml and refused.yaml.
-- `(odd name)` stands for any that is not made of plain words. Each has been dropped before it was stored.
-- param days UInt16 = 30 : days to look back, today included
SELECT
    attribute,
    sum(records) AS events_or_points,
    arraySort(groupUniqArrayArray(came_with)) AS came_with,
    min(first) AS first_seen,
    max(last) AS last_seen,
    arraySort(groupUniqArrayArray(versions)) AS client_versions
FROM
(
    SELECT
        arrayJoin(dropped)::String AS attribute,
        sum(weight) AS records,
        groupUniqArray(20)(event::String) AS came_with,
        min(ts) AS first,
        max(ts) AS last,
        groupUniqArray(20)(client_version::String) AS versions
    FROM telemetry_events
    WHERE notEmpty(dropped) AND toDate(ts) > today() - least({days:UInt16}, 20000)
    GROUP BY attribute
    UNION ALL
    SELECT
        arrayJoin(dropped)::String AS attribute,
        sum(weight) AS records,
        groupUniqArray(20)(metric::String) AS came_with,
        min(ts) AS first,
        max(ts) AS last,
        groupUniqArray(20)(client_version::String) AS versions
    FROM metric_points
    WHERE notEmpty(dropped) AND toDate(ts) > today() - least({days:UInt16}, 20000)
    GROUP BY attribute
)
GROUP BY attribute
ORDER BY events_or_points DESC, attribute
