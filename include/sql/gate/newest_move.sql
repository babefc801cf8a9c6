SELECT kind, version, moved_at
FROM gate.moves
WHERE kind <> 'release'
ORDER BY id DESC
LIMIT 1
