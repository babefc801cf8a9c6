SELECT id
FROM gate.moves
WHERE kind = %(kind)s
  AND version IS NOT DISTINCT FROM %(version)s
  AND moved_at >= %(since)s::timestamptz
LIMIT 1
