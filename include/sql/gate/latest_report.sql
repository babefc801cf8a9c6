-- The last decision that the gate made on a version: one that only sets it aside has no report of its own.
SELECT id, reason, report
FROM gate.decisions
WHERE candidate_version = %(version)s AND NOT report ? 'sets_aside'
ORDER BY id DESC
LIMIT 1
