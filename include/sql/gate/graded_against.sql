-- The Production that a candidate was graded against, in a decision or in the last one against that number.
SELECT run_id, production_run_id
FROM gate.decisions
WHERE candidate_version = %(version)s
  AND CASE
      WHEN %(decision)s::bigint IS NOT NULL THEN id = %(decision)s
      ELSE run_id = %(run_id)s AND production_version IS NOT DISTINCT FROM %(production_version)s
  END
ORDER BY id DESC
LIMIT 1
