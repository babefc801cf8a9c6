-- name: as_of
-- The state of each AS_OF, and the last decision on a model trained at it.
SELECT
    as_of,
    drops.revision,
    drops.received_at,
    (drops.files -> 'users.csv' ->> 'rows')::bigint AS rows,
    builds.as_of IS NOT NULL AND builds.expired_at IS NULL AS has_snapshot,
    decisions.id AS decision,
    decisions.outcome,
    decisions.reason,
    decisions.candidate_version,
    decisions.run_id,
    decisions.candidate_auc,
    decisions.production_auc,
    lists.revision AS list_revision,
    lists.model_version AS list_version,
    lists.rows AS list_rows,
    lists.snapshot_digest = scored.digest AS list_is_current,
    judged.verdict
FROM raw.drops
FULL JOIN snapshots.builds USING (as_of)
FULL JOIN (
    SELECT DISTINCT ON (as_of)
        as_of, id, outcome, reason, candidate_version, run_id, candidate_auc, production_auc
    FROM gate.decisions
    ORDER BY as_of, id DESC
) AS decisions USING (as_of)
LEFT JOIN scores.current_runs AS lists USING (as_of)
LEFT JOIN scores.snapshots AS scored USING (as_of)
LEFT JOIN (
    SELECT as_of, model_version, model_run_id, verdict FROM outcomes.current WHERE source = 'list' AND decides
) AS judged USING (as_of, model_version, model_run_id)
ORDER BY as_of

-- name: feature_services
-- The feature services that serving can look up, from Feast's own table.
SELECT feature_service_name FROM feast.feature_services WHERE project_id = 'streamflow' ORDER BY feature_service_name
