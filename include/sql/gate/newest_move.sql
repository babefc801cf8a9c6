SELECT kind, version, run_id, moved_at
FROM gate.moves
WHERE kind <> 'release'
ORDER BY id DESC
LIMIT 1
