-- When was it made?
--
-- Once a week, in the database itself.
-- param until DateTime : the newest report made by then is shown
WITH
    (SELECT max(made_at) FROM retention_reports WHERE made_at <= {until:DateTime}) AS this,
    (SELECT max(made_at) FROM retention_reports WHERE made_at < this) AS before
SELECT
    nullIf(this, toDateTime(0)) AS made_at,
    nullIf(before, toDateTime(0)) AS report_before,
    (SELECT uniqExact(made_at) FROM retention_reports) AS reports
