-- The decisions that the gate made on a version, oldest first: those that only set another aside have no files of their own.
SELECT id, report
FROM gate.decisions
WHERE candidate_version = %(version)s AND run_id = %(run_id)s AND NOT report ? 'sets_aside'
ORDER BY id
