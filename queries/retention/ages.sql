-- How old is it?
--
-- Rows by the age of what they are about, in days, on the day of the report.
-- param until DateTime : the newest report made by then is shown
WITH (SELECT max(made_at) FROM retention_reports WHERE made_at <= {until:DateTime}) AS this
SELECT
    r.class AS class,
    sumIf(r.rows, toDate(this) - r.day <= 7) AS up_to_7,
    sumIf(r.rows, toDate(this) - r.day BETWEEN 8 AND 30) AS up_to_30,
    sumIf(r.rows, toDate(this) - r.day BETWEEN 31 AND 90) AS up_to_90,
    sumIf(r.rows, toDate(this) - r.day BETWEEN 91 AND 365) AS up_to_365,
    sumIf(r.rows, toDate(this) - r.day > 365) AS older
FROM retention_reports AS r
WHERE made_at = this AND r.class != ''
GROUP BY class
ORDER BY sum(r.rows) DESC, class
