-- What is held, for how long, and what went?
--
-- keep_days: days a row is kept; unknown means for ever. overdue_rows: rows older than that, which should have gone.
-- gone_rows: what the report before had and this one has not, whoever deleted it; unknown in a first report. Of days
-- to which rows came meanwhile, what went is not seen.
-- param until DateTime : the newest report made by then is shown
WITH
    (SELECT max(made_at) FROM retention_reports WHERE made_at <= {until:DateTime}) AS this,
    (SELECT max(made_at) FROM retention_reports WHERE made_at < this) AS before
SELECT
    class,
    sum(now_rows) AS rows,
    sum(now_bytes) AS bytes,
    minIfOrNull(day, now_rows > 0) AS oldest_day,
    nullIf(max(kept), 0) AS keep_days,
    sumIf(now_rows, kept > 0 AND day + kept < toDate(this)) AS overdue_rows,
    if(before = 0, NULL, toNullable(sum(was_rows - least(was_rows, now_rows)))) AS gone_rows
FROM
(
    SELECT
        r.class AS class,
        r.day AS day,
        maxIf(r.rows, made_at = this) AS now_rows,
        maxIf(r.bytes, made_at = this) AS now_bytes,
        maxIf(r.rows, made_at = before) AS was_rows,
        argMax(r.keep_days, made_at) AS kept
    FROM retention_reports AS r
    WHERE made_at IN (this, before) AND r.class != ''
    GROUP BY class, day
)
GROUP BY class
ORDER BY rows DESC, class
