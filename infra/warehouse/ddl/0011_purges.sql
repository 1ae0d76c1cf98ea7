-- Who asked to have their data deleted, and when that was done. Once it is done nothing here says who it was.

CREATE TABLE IF NOT EXISTS telemetry.purge_requests
(
    id String COMMENT 'Random; stands in the evidence too',
    member LowCardinality(String) COMMENT 'Who asked; empty once it is done',
    session_id String COMMENT 'Which session is to go; empty: everything of that member, or done',
    requested_at DateTime,
    done_at DateTime COMMENT '1970-01-01: not yet',
    written_at DateTime64(3) DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY id;

-- Without names: for reports.
CREATE OR REPLACE VIEW telemetry.purge_status
DEFINER = telemetry_views SQL SECURITY DEFINER
AS SELECT
    id,
    if(session_id = '' AND member = '', '', if(session_id = '', 'member', 'session')) AS what,
    requested_at,
    nullIf(done_at, toDateTime(0)) AS done_at,
    dateDiff('day', requested_at, if(p.done_at = toDateTime(0), now(), p.done_at)) AS days
FROM telemetry.purge_requests AS p FINAL;
