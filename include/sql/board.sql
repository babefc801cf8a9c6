-- name: count
SELECT count(*) FROM gate.decisions

-- name: dates
-- The state of the newest AS_OF dates, and whether each step has processed the loaded drop.
SELECT
    as_of,
    drops.revision,
    drops.received_at,
    (drops.files -> 'users.csv' ->> 'rows')::bigint AS rows,
    CASE WHEN builds.expired_at IS NULL THEN builds.built_at END AS snapshot_at,
    CASE WHEN builds.expired_at IS NULL THEN builds.drop_digest = drops.digest END AS snapshot_is_current,
    online.published_at AS online_at,
    online.drop_digest = drops.digest AS online_is_current,
    as_of IS NOT DISTINCT FROM %(served_as_of)s::date AS is_served,
    decisions.id AS decision,
    decisions.outcome,
    decisions.candidate_version,
    lists.scored_at,
    lists.revision AS list_revision,
    lists.model_version AS list_version,
    lists.snapshot_digest = scored.digest AS list_is_current,
    holds.held_at,
    holds.findings
FROM raw.drops
FULL JOIN snapshots.builds USING (as_of)
FULL JOIN raw.holds USING (as_of)
LEFT JOIN (
    SELECT DISTINCT ON (as_of) as_of, id, outcome, candidate_version
    FROM gate.decisions
    ORDER BY as_of, id DESC
) AS decisions USING (as_of)
LEFT JOIN (
    SELECT DISTINCT ON (as_of) as_of, drop_digest, begun_at AS published_at
    FROM online.builds
    WHERE state = 'published'
    ORDER BY as_of, build DESC
) AS online USING (as_of)
LEFT JOIN scores.current_runs AS lists USING (as_of)
LEFT JOIN scores.snapshots AS scored USING (as_of)
ORDER BY as_of DESC
LIMIT %(limit)s

-- name: decision
SELECT
    id,
    decided_at,
    as_of,
    graded_on,
    candidate_version,
    production_version,
    run_id,
    outcome,
    reason,
    overridden,
    report
FROM gate.decisions
WHERE id = %(id)s

-- name: decisions
-- The newest decisions for the timeline, without the large column `report`.
SELECT
    id,
    decided_at,
    as_of,
    graded_on,
    candidate_version,
    production_version,
    outcome,
    reason,
    -- JSON has no NaN.
    nullif(candidate_auc, 'NaN') AS candidate_auc,
    nullif(candidate_auc_error, 'NaN') AS candidate_auc_error,
    nullif(production_auc, 'NaN') AS production_auc,
    nullif(production_auc_error, 'NaN') AS production_auc_error,
    superior,
    overridden <> jsonb_build_object() AS overridden
FROM gate.decisions
ORDER BY id DESC
LIMIT %(limit)s

-- name: grades_of_version
-- All grades of a version, as the candidate and as the Production that a candidate was compared with; newest first.
SELECT
    id AS decision,
    decided_at,
    graded_on,
    CASE WHEN is_candidate THEN 'candidate' ELSE 'Production' END AS graded_as,
    nullif(CASE WHEN is_candidate THEN candidate_auc ELSE production_auc END, 'NaN') AS auc,
    nullif(CASE WHEN is_candidate THEN candidate_auc_error ELSE production_auc_error END, 'NaN') AS auc_error
FROM gate.decisions
CROSS JOIN LATERAL (
    SELECT
        candidate_version = %(version)s AND run_id = %(run_id)s AS is_candidate,
        production_version = %(version)s AND coalesce(production_run_id = %(run_id)s, true) AS is_production
) AS found
WHERE is_candidate OR is_production
ORDER BY id DESC
LIMIT 100

-- name: mark
-- Changes with everything that the board shows from the database, except the served build. Reads indexes and small tables
-- only. The counts are needed because a lower id may become visible after a higher one.
SELECT concat_ws(
    '/',
    (SELECT max(id) || ':' || count(*) FROM gate.decisions),
    (SELECT max(id) || ':' || count(*) FROM gate.moves),
    (SELECT count(*) || ':' || max(received_at) || ':' || count(withdrawn_at) FROM raw.revisions),
    (SELECT count(*) || ':' || max(built_at) || ':' || count(expired_at) FROM snapshots.builds),
    (SELECT count(*) || ':' || max(held_at) FROM raw.holds),
    (SELECT count(*) || ':' || max(scored_at) || ':' || count(withdrawn_at) || ':' || count(expired_at) FROM scores.runs)
)

-- name: moves
SELECT id, moved_at, kind, version, previous_version, who, why
FROM gate.moves
ORDER BY id DESC
LIMIT %(limit)s
