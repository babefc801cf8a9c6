-- The last decision on the version, if it is to promote it and came after every move to it.
SELECT reason, superior
FROM (
    SELECT outcome, reason, superior, decided_at
    FROM gate.decisions
    WHERE candidate_version = %(version)s AND run_id = %(run_id)s
    ORDER BY id DESC
    LIMIT 1
) AS last
WHERE outcome = 'PROMOTE'
  AND NOT EXISTS (
      SELECT FROM gate.moves
      WHERE version = %(version)s AND coalesce(run_id = %(run_id)s, true) AND kind <> 'release'
        AND moved_at >= last.decided_at
  )
