-- What did the edge refuse?
--
-- user: who they said they were. Where there is no edge there is nothing.
-- param until DateTime : as of then
-- param days UInt16 = 30 : days to look back
SELECT
    status,
    method,
    path,
    user,
    address,
    count() AS times,
    toDateTime(max(ts), 'UTC') AS last_tried
FROM edge_log
WHERE ts <= {until:DateTime} AND ts > {until:DateTime} - toIntervalDay({days:UInt16}) AND status >= 400
GROUP BY status, method, path, user, address
ORDER BY times DESC, last_tried DESC, path, address
LIMIT 50
