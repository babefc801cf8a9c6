SELECT reason, report
FROM gate.decisions
WHERE candidate_version = %(version)s
ORDER BY id DESC
LIMIT 1
