-- From where?
--
-- param until DateTime : as of then
-- param days UInt16 = 30 : days to look back
SELECT
    address,
    arraySort(groupUniqArray(10)(user)) AS users,
    countIf(action = 'query') AS queries,
    countIf(result = 'denied') AS denied,
    toDateTime(max(ts), 'UTC') AS last_seen
FROM access_log
WHERE ts <= {until:DateTime} AND ts > {until:DateTime} - toIntervalDay({days:UInt16})
GROUP BY address
ORDER BY queries DESC, denied DESC, address
LIMIT 50
