SELECT outcome, reason, production_version, superior, id
FROM gate.decisions
WHERE candidate_version = %(version)s AND run_id = %(run_id)s
ORDER BY id DESC
LIMIT 1
