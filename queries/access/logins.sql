-- Which logins failed?
--
-- (unknown): no user of ours; what was typed is not kept.
-- param until DateTime : as of then
-- param days UInt16 = 30 : days to look back
SELECT
    user,
    address,
    count() AS times,
    toDateTime(min(ts), 'UTC') AS first_tried,
    toDateTime(max(ts), 'UTC') AS last_tried
FROM access_log
WHERE ts <= {until:DateTime} AND ts > {until:DateTime} - toIntervalDay({days:UInt16}) AND action = 'login'
GROUP BY user, address
ORDER BY times DESC, last_tried DESC, user, address
LIMIT 50
