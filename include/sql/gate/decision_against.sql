SELECT outcome, reason, production_version
FROM gate.decisions
WHERE candidate_version = %(version)s AND production_version IS NOT DISTINCT FROM %(production_version)s
ORDER BY id DESC
LIMIT 1
