SELECT id, moved_at, kind, version, previous_version, who, why
FROM gate.moves
ORDER BY id DESC
LIMIT %(limit)s
