-- What was denied, and to whom?
--
-- query: without literals. Empty: refused before it was a query, such as for a setting in the URL.
-- param until DateTime : as of then
-- param days UInt16 = 30 : days to look back
SELECT
    user,
    error,
    substringUTF8(a.query, 1, 200) AS query,
    count() AS times,
    arraySort(groupUniqArray(5)(address)) AS addresses,
    toDateTime(max(ts), 'UTC') AS last_tried
FROM access_log AS a
WHERE ts <= {until:DateTime} AND ts > {until:DateTime} - toIntervalDay({days:UInt16}) AND action != 'login' AND result = 'denied'
GROUP BY user, error, query
ORDER BY times DESC, last_tried DESC, user, query
LIMIT 50
