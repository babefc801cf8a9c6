SELECT id
FROM gate.moves
WHERE kind = 'promotion' AND version = %(version)s
LIMIT 1
