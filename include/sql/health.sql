-- name: dates
-- The newest dates that were ever judged, and the newest lists that wait for labels: each has a limit, as daily lists
-- wait for weeks.
WITH judged AS (
    SELECT as_of, count(*) AS revisions
    FROM outcomes.judgements
    GROUP BY as_of
    ORDER BY as_of DESC
    LIMIT %(limit)s
), waiting AS (
    SELECT DISTINCT as_of
    FROM outcomes.expectations
    WHERE NOT EXISTS (SELECT FROM outcomes.judgements WHERE judgements.as_of = expectations.as_of)
    ORDER BY as_of DESC
    LIMIT %(waiting)s
)
SELECT as_of, judgement.revision, judgement.known_as_of, judgement.judged_at, coalesce(judged.revisions, 0) AS revisions
FROM judged
FULL JOIN waiting USING (as_of)
LEFT JOIN outcomes.current_judgements AS judgement USING (as_of)
ORDER BY as_of DESC

-- name: deciding
-- The figures that decided, of every judgement of a date.
SELECT
    as_of, revision, model_version, model_run_id, source, basis, arm, slice, decides, rows, churned, auc, auc_low,
    auc_high, brier, calibration_intercept, calibration_slope, mean_probability, churn_rate, lift, capture, precision,
    recall, promised_auc, promised_low, promised_high, verdict, reason
FROM outcomes.performance
WHERE as_of = %(as_of)s AND decides
ORDER BY revision, source DESC, model_version

-- name: effect
SELECT
    contacted, control_contacted, treat_rows, treat_churned, control_rows, control_churned, effect, effect_low AS low,
    effect_high AS high
FROM outcomes.effects
JOIN outcomes.current_judgements USING (as_of, revision)
WHERE as_of = %(as_of)s

-- name: expectations
-- On customers that no version trains on.
SELECT
    as_of, model_version, model_run_id, basis, calibrated_on, rows, auc, auc_low AS low, auc_high AS high, brier, churn_rate
FROM outcomes.expectations
WHERE basis = 'gate and audit cohort' AND as_of >= %(since)s
ORDER BY as_of

-- name: figures
-- The newest figures of some dates: those that decide, first, and those of all rows, or those by arm and slice.
SELECT
    as_of, revision, model_version, model_run_id, source, basis, arm, slice, decides, rows, churned, auc, auc_low,
    auc_high, brier, calibration_intercept, calibration_slope, mean_probability, churn_rate, lift, capture, precision,
    recall, promised_auc, promised_low, promised_high, verdict, reason
FROM outcomes.current
WHERE as_of BETWEEN %(since)s AND %(until)s AND (decides OR arm = 'all' AND slice = 'all') = %(undivided)s
ORDER BY as_of DESC, decides DESC, source DESC, model_version, basis, slice <> 'all', arm, slice

-- name: revisions
SELECT
    judgement.as_of, judgement.revision, judgement.known_as_of, judgement.judged_at, judgement.withdrawn_at,
    judgement.list_revision, judgement.list_version, judgement.answering_version, judgement.labelled_by,
    judgement.treated_by, judgement.code_digest, newest.revision IS NOT NULL AS is_current
FROM outcomes.judgements AS judgement
LEFT JOIN outcomes.current_judgements AS newest USING (as_of, revision)
WHERE as_of = %(as_of)s
ORDER BY revision
