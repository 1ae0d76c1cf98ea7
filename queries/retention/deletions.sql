-- What did commands delete since the report before?
--
-- What a table drops by itself when it is old enough is not here.
-- param until DateTime : the newest report made by then is shown
WITH
    (SELECT max(made_at) FROM retention_reports WHERE made_at <= {until:DateTime}) AS this,
    (SELECT max(made_at) FROM retention_reports WHERE made_at < this) AS before
SELECT
    why,
    class,
    sum(d.rows) AS rows,
    min(d.first_day) AS first_day,
    max(d.last_day) AS last_day,
    max(d.at) AS last_deleted
FROM deletions AS d
WHERE toDateTime(d.at) > before AND toDateTime(d.at) <= this
GROUP BY why, class
ORDER BY rows DESC, why, class
