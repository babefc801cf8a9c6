-- Each move of Production, the newest first, with what the one before it had put there.
SELECT kind, version, run_id, lag(version) OVER history AS previous_version, lag(run_id) OVER history AS previous_run_id
FROM gate.moves
WHERE kind <> 'release'
WINDOW history AS (ORDER BY id)
ORDER BY id DESC
