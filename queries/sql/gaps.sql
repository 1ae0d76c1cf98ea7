-- Of which sessions did events not arrive?
--
-- A process of the client numbers its events without a gap. A number that is missing between two events of a session,
-- and stands in no other session of that member at that time (one process may serve several), was lost on the way:
-- by a client that was killed, by an exporter that gave up, or because the event was set aside.
-- missing_events: at least so many, and of one gap a thousand at most. What is missing before a session's first event or
-- behind its last cannot be told, nor can anything of clients before 2.1.15, which do not number. The last two minutes
-- are not judged yet, nor are sessions that were not sampled.
-- param days UInt16 = 7 : days to look back, today included
-- param limit UInt32 = 50 : sessions to show, those that lack most first
WITH
    numbered AS
    (
        SELECT member, session_id, ts, seq
        FROM telemetry_events
        WHERE record_hash = 0 AND session_id != '' AND session_weight > 0 AND toDate(ts) > today() - least({days:UInt16}, 20000)
    ),
    lost AS
    (
        SELECT
            member,
            session_id,
            gap.1 AS since,
            gap.3 AS until,
            -- A clock was set where as many have that number as the session had processes: each begins with 0.
            arrayJoin(arrayFilter(
                number -> countEqual(numbers, number) < greatest(processes, 1),
                range(gap.2 + 1, least(gap.4, gap.2 + 1001)))) AS seq
        FROM
        (
            SELECT
                member,
                session_id,
                groupArray(seq) AS numbers,
                countIf(seq = 0) AS processes,
                arraySort(groupArray((ts, seq))) AS steps,
                arrayJoin(arrayFilter(
                    each -> each.4 > each.2 + 1 AND each.3 < now() - INTERVAL 2 MINUTE,
                    arrayMap((a, b) -> (a.1, a.2, b.1, b.2), arrayPopBack(steps), arrayPopFront(steps)))) AS gap
            FROM numbered
            GROUP BY member, session_id
        )
    ),
    found AS
    (
        -- Of the session itself, where a clock was set; of another, while its process did not report to this one.
        SELECT l.member AS member, l.session_id AS session_id, l.since AS since, l.seq AS seq
        FROM numbered AS n
        INNER JOIN lost AS l ON n.member = l.member AND n.seq = l.seq
        WHERE n.session_id = l.session_id
            ? n.ts BETWEEN l.since - INTERVAL 10 MINUTE AND l.until + INTERVAL 10 MINUTE
            : n.ts BETWEEN l.since AND l.until
    )
SELECT
    session_id,
    member,
    count() AS missing_events,
    uniqExact(since) AS gaps,
    min(since) AS first_gap,
    max(until) AS last_gap
FROM lost
LEFT ANTI JOIN found USING (member, session_id, since, seq)
GROUP BY member, session_id
ORDER BY missing_events DESC, last_gap DESC, session_id
LIMIT {limit:UInt32}
