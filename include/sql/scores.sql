-- name: attach
ALTER TABLE scores.customers ATTACH PARTITION {partition} FOR VALUES FROM ({as_of}, {revision}) TO ({as_of}, {next})

-- name: create_partition
CREATE TABLE {partition} (LIKE scores.customers INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS)

-- name: create_staging
CREATE TEMPORARY TABLE scored (
    user_id           text COLLATE "C" NOT NULL,
    churn_probability double precision NOT NULL,
    monthly_fee       double precision NOT NULL,
    arm               text             NOT NULL
);
CREATE TEMPORARY TABLE reasons (user_id text COLLATE "C" NOT NULL, reasons jsonb NOT NULL)

-- name: current_run
SELECT * FROM scores.current_runs WHERE as_of = %(as_of)s

-- name: drop_partition
DROP TABLE IF EXISTS {partition}

-- name: entities
SELECT user_id, event_timestamp, monthly_fee AS fee
FROM snapshots.subscriptions_profile_snapshots
WHERE event_timestamp = {event_timestamp}::timestamptz

-- name: export
SELECT
    as_of, revision, user_id, churn_probability, prediction, rank, decile, monthly_fee, revenue_at_risk, arm,
    reasons::text, model_version
FROM {partition}
ORDER BY rank

-- name: fill_partition
INSERT INTO {partition} (
    as_of, revision, user_id, churn_probability, prediction, rank, decile, monthly_fee, revenue_at_risk, arm, reasons,
    model_version
)
SELECT
    %(as_of)s, %(revision)s, user_id, churn_probability, (churn_probability >= %(threshold)s)::integer, rank, decile,
    monthly_fee, churn_probability * monthly_fee, arm, reasons.reasons, %(model_version)s
FROM (
    SELECT *, row_number() OVER by_risk AS rank, ntile(10) OVER by_risk AS decile
    FROM scored
    WINDOW by_risk AS (ORDER BY churn_probability DESC, user_id)
) AS ranked
LEFT JOIN reasons USING (user_id)
ORDER BY rank

-- name: index_partition
ALTER TABLE {partition} ADD PRIMARY KEY (as_of, revision, rank);
CREATE INDEX ON {partition} (user_id)

-- name: last_of_top_decile
-- The last row of the first of the ten groups that ntile(10) makes.
SELECT churn_probability, user_id
FROM scored
ORDER BY churn_probability DESC, user_id
LIMIT 1
OFFSET (SELECT greatest(ceil(count(*) / 10.0) - 1, 0) FROM scored)

-- name: mark_withdrawn
UPDATE scores.runs SET withdrawn_at = now()
WHERE as_of = %(as_of)s AND withdrawn_at IS NULL
RETURNING revision

-- name: newest_revision
SELECT coalesce(max(revision), 0) FROM scores.runs WHERE as_of = %(as_of)s

-- name: record_file
UPDATE scores.runs SET sha256 = %(sha256)s WHERE as_of = %(as_of)s AND revision = %(revision)s

-- name: record_run
INSERT INTO scores.runs (
    as_of, revision, model_version, model_run_id, model_as_of, feature_service, threshold, control_share,
    snapshot_digest, code_digest, rows, expected_churners, revenue_at_risk, sha256
)
VALUES (
    %(as_of)s, %(revision)s, %(model_version)s, %(model_run_id)s, %(model_as_of)s, %(feature_service)s, %(threshold)s,
    %(control_share)s, %(snapshot_digest)s, %(code_digest)s, %(rows)s, %(expected_churners)s, %(revenue_at_risk)s,
    %(sha256)s
)
RETURNING *

-- name: runs
SELECT * FROM scores.runs WHERE as_of = %(as_of)s ORDER BY revision

-- name: snapshot
SELECT digest, rows FROM scores.snapshots WHERE as_of = %(as_of)s

-- name: totals
SELECT count(*), coalesce(sum(churn_probability), 0), coalesce(sum(revenue_at_risk), 0) FROM {partition}
