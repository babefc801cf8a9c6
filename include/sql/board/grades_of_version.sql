-- How a version was graded: as the candidate, and every time since then as the Production that a candidate met; newest first.
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
