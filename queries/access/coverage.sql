-- What is this made of?
--
-- first: the oldest row that there is. Rows are kept for 400 days.
-- param until DateTime : as of then
-- param days UInt16 = 30 : days to look back
SELECT
    toDateTime({until:DateTime} - toIntervalDay({days:UInt16}), 'UTC') AS since,
    (SELECT toDateTime(minOrNull(ts), 'UTC') FROM access_log) AS first,
    (SELECT count() FROM access_log WHERE ts <= {until:DateTime} AND ts > since) AS rows,
    (SELECT count() FROM edge_log WHERE ts <= {until:DateTime} AND ts > since) AS edge_rows
