-- A decision that the gate made on a version, or the last of them: one that only sets another aside has no files of its own.
SELECT id, reason, report
FROM gate.decisions
WHERE candidate_version = %(version)s AND run_id = %(run_id)s AND NOT report ? 'sets_aside'
  AND (%(decision)s::bigint IS NULL OR id = %(decision)s)
ORDER BY id DESC
LIMIT 1
