SELECT version, run_id
FROM gate.moves
WHERE kind <> 'release'
ORDER BY id
