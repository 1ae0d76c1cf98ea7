-- Who waits for a purge, and for how long?
--
-- Nobody is named here. what: member or session; unknown once it is done. days: from the request until it was done, or
-- until now. days_left: of the 30 that the policy promises; below 0 they are over, unknown once it is done.
-- param until DateTime : as of then
SELECT
    id,
    if(done_at <= {until:DateTime}, NULL, nullIf(what, '')) AS what,
    requested_at,
    if(done_at <= {until:DateTime}, done_at, NULL) AS done_at,
    toInt32(dateDiff('day', requested_at, least(ifNull(done_at, {until:DateTime}), {until:DateTime}))) AS days,
    if(done_at <= {until:DateTime}, NULL, 30 - days) AS days_left
FROM (SELECT id, what, requested_at, done_at FROM purge_status WHERE requested_at <= {until:DateTime})
ORDER BY days_left IS NULL, days_left, requested_at, id
