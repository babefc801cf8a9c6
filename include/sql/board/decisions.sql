-- The newest decisions, for the timeline: without `report`, which is a hundred times larger than all of this.
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
