-- Who asked how much?
--
-- denied: what they may not, or what a limit forbids. failed: what could not be answered, such as a mistyped query.
-- rows: returned. addresses: from how many. The administrator is in it, with what this project asks by itself.
-- param until DateTime : as of then
-- param days UInt16 = 30 : days to look back
SELECT
    user,
    countIf(action = 'query') AS queries,
    countIf(result = 'denied') AS denied,
    countIf(result = 'failed') AS failed,
    sum(read_rows) AS rows_read,
    sum(result_rows) AS rows,
    round(sum(duration_ms) / 1000, 1) AS seconds,
    uniqExact(address) AS addresses,
    toDateTime(max(ts), 'UTC') AS last_asked
FROM access_log
WHERE ts <= {until:DateTime} AND ts > {until:DateTime} - toIntervalDay({days:UInt16}) AND action != 'login'
GROUP BY user
ORDER BY queries DESC, user
