INSERT INTO gate.decisions (
    id, as_of, candidate_version, run_id, production_version, production_run_id, graded_on,
    outcome, reason, candidate_auc, candidate_auc_error, production_auc, production_auc_error,
    auc_difference, auc_difference_error, superior, overridden, report
)
OVERRIDING SYSTEM VALUE
VALUES (
    %(id)s, %(as_of)s, %(candidate_version)s, %(run_id)s, %(production_version)s, %(production_run_id)s, %(graded_on)s,
    %(outcome)s, %(reason)s, %(candidate_auc)s, %(candidate_auc_error)s, %(production_auc)s, %(production_auc_error)s,
    %(auc_difference)s, %(auc_difference_error)s, %(superior)s, %(overridden)s, %(report)s
)
