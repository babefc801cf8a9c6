SELECT id
FROM gate.moves
WHERE kind = 'promotion' AND version = %(version)s AND coalesce(run_id = %(run_id)s, true)
LIMIT 1
