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
