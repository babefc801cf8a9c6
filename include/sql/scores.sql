-- name: all_runs
SELECT * FROM scores.runs ORDER BY as_of, revision

-- name: attach
ALTER TABLE scores.customers ATTACH PARTITION {partition} FOR VALUES FROM ({as_of}, {revision}) TO ({as_of}, {next})

-- name: create_partition
CREATE TABLE {partition} (LIKE scores.customers INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS)

-- name: current_run
SELECT * FROM scores.current_runs WHERE as_of = %(as_of)s

-- name: entities
SELECT user_id, event_timestamp, monthly_fee AS fee
FROM snapshots.subscriptions_profile_snapshots
WHERE event_timestamp = {event_timestamp}::timestamptz

-- name: export
SELECT
    as_of, revision, user_id, churn_probability, prediction, rank, decile, monthly_fee, revenue_at_risk, arm,
    reasons::text, model_version
FROM {table}
WHERE rank BETWEEN {first} AND {last}
ORDER BY rank

-- name: index_partition
ALTER TABLE {partition} ADD PRIMARY KEY (as_of, revision, rank);
CREATE INDEX ON {partition} (user_id)

-- name: last_rank
-- Not the number of rows: erased customers leave gaps.
SELECT coalesce(max(rank), 0) FROM {partition}

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
SELECT coalesce(sum(churn_probability), 0), coalesce(sum(revenue_at_risk), 0) FROM {partition}
