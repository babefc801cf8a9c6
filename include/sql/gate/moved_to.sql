SELECT version
FROM gate.moves
WHERE kind <> 'release'
ORDER BY id
