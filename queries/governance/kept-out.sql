-- What came of those who were purged, and was not stored?
--
-- Records that collectors sent late or again.
-- param until DateTime : as of then
SELECT toStartOfMonth(day) AS month, sum(records) AS records
FROM kept_out
WHERE day <= toDate({until:DateTime})
GROUP BY month
ORDER BY month DESC
LIMIT 12
