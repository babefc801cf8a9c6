SELECT kind, version, previous_version
FROM gate.moves
WHERE kind <> 'release'
ORDER BY id DESC
