INSERT INTO gate.decisions (
    as_of, candidate_version, run_id, production_version, graded_on,
    outcome, reason, candidate_auc, production_auc, report
)
VALUES (
    %(as_of)s, %(candidate_version)s, %(run_id)s, %(production_version)s, %(graded_on)s,
    %(outcome)s, %(reason)s, %(candidate_auc)s, %(production_auc)s, %(report)s
)
