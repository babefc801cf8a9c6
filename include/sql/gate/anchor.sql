SELECT version, run_id
FROM gate.moves
WHERE kind IN ('person', 'rollback') OR (kind = 'promotion' AND superior)
ORDER BY id DESC
LIMIT 1
