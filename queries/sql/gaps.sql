-- Of which sessions did events not arrive?
--
-- A process of the client numbers its events without a gap. A number that is missing between two events of a session,
-- and stands in no other session of that member around that time (one process may serve several), was lost on the way:
-- a client that was killed, an exporter that gave up, or an event that was set aside.
-- missing_events: at least so many. What is missing before a session's first event or behind its last cannot be told,
-- nor can anything of clients before 2.1.15, which do not number. The last two minutes are not judged yet.
-- param days UInt16 = 7 : days to look back, today included
-- param limit UInt32 = 50 : sessions to show, those that lack most first
WITH
    numbered AS
    (
        SELECT member, session_id, ts, seq
        FROM telemetry_events
        WHERE record_hash = 0 AND session_id != '' AND toDate(ts) > today() - least({days:UInt16}, 20000)
    ),
    gaps AS
    (
        SELECT
            member,
            session_id,
            arraySort(groupArray((ts, seq))) AS steps,
            arrayJoin(arrayFilter(
                gap -> gap.4 > gap.2 + 1 AND gap.3 < now() - INTERVAL 2 MINUTE,
                arrayMap((a, b) -> (a.1, a.2, b.1, b.2), arrayPopBack(steps), arrayPopFront(steps)))) AS gap
        FROM numbered
        GROUP BY member, session_id
    )
SELECT
    session_id,
    member,
    sum(lacking) AS missing_events,
    count() AS gaps,
    min(since) AS first_gap,
    max(until) AS last_gap
FROM
(
    SELECT
        g.member AS member,
        g.session_id AS session_id,
        g.gap.1 AS since,
        g.gap.3 AS until,
        arrayFilter(each -> each.2 > g.gap.2 AND each.2 < g.gap.4, m.steps) AS within,
        -- Of the session itself, where a clock was set; and of another one, if all that it has meanwhile fits.
        arrayFilter(
            each -> each.3 = g.session_id
                AND each.1 >= since - INTERVAL 10 MINUTE AND each.1 <= until + INTERVAL 10 MINUTE,
            within) AS own,
        arrayMap(each -> each.3, arrayFilter(
            each -> each.1 >= since AND each.1 <= until AND (each.2 <= g.gap.2 OR each.2 >= g.gap.4),
            m.steps)) AS busy,
        arrayFilter(each -> each.1 >= since AND each.1 <= until AND NOT has(busy, each.3), within) AS others,
        toInt64(g.gap.4 - g.gap.2 - 1)
            - toInt64(length(arrayDistinct(arrayMap(each -> each.2, arrayConcat(own, others))))) AS lacking
    FROM gaps AS g
    INNER JOIN
    (
        SELECT member, groupArray((ts, seq, session_id)) AS steps
        FROM numbered
        WHERE member IN (SELECT member FROM gaps)
        GROUP BY member
    ) AS m ON g.member = m.member
)
WHERE lacking > 0
GROUP BY member, session_id
ORDER BY missing_events DESC, last_gap DESC, session_id
LIMIT {limit:UInt32}
