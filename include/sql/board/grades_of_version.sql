-- How a version was graded: as the candidate, and every time since then as the Production that a candidate met; newest first.
SELECT
    id AS decision,
    decided_at,
    graded_on,
    CASE WHEN candidate_version = %(version)s THEN 'candidate' ELSE 'Production' END AS graded_as,
    nullif(CASE WHEN candidate_version = %(version)s THEN candidate_auc ELSE production_auc END, 'NaN') AS auc,
    nullif(CASE WHEN candidate_version = %(version)s THEN candidate_auc_error ELSE production_auc_error END, 'NaN')
        AS auc_error
FROM gate.decisions
WHERE %(version)s IN (candidate_version, production_version)
ORDER BY id DESC
LIMIT 100
