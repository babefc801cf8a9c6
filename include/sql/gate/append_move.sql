INSERT INTO gate.moves (kind, version, run_id, previous_version, who, why, superior)
VALUES (
    %(kind)s, %(version)s, %(run_id)s,
    (SELECT version FROM gate.moves WHERE kind <> 'release' ORDER BY id DESC LIMIT 1),
    %(who)s, %(why)s, %(superior)s
)
