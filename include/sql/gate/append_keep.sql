-- Sets a decision PROMOTE aside, or the last one: the same figures, the outcome KEEP. Nothing where that was done before.
INSERT INTO gate.decisions (
    as_of, candidate_version, run_id, production_version, production_run_id, graded_on, outcome, reason,
    candidate_auc, production_auc, candidate_auc_error, production_auc_error, auc_difference, auc_difference_error,
    superior, overridden, report
)
SELECT
    as_of, candidate_version, run_id, production_version, production_run_id, graded_on, 'KEEP', %(reason)s,
    candidate_auc, production_auc, candidate_auc_error, production_auc_error, auc_difference, auc_difference_error,
    superior, overridden,
    report || jsonb_build_object('outcome', 'KEEP', 'reason', %(reason)s::text, 'sets_aside', id)
FROM (
    SELECT *
    FROM gate.decisions
    WHERE candidate_version = %(version)s AND run_id = %(run_id)s
      AND production_version IS NOT DISTINCT FROM %(production_version)s
      AND outcome = 'PROMOTE' AND (%(decision)s::bigint IS NULL OR id = %(decision)s)
    ORDER BY id DESC
    LIMIT 1
) AS made
WHERE NOT EXISTS (
    SELECT FROM gate.decisions AS later
    WHERE later.candidate_version = made.candidate_version AND (later.report ->> 'sets_aside')::bigint = made.id
)
