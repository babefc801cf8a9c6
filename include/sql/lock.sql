-- name: wait
SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))

-- name: wait_for_session
-- A session that waits for a fit is idle: the server's limit on that must not take the lock.
SELECT set_config('idle_session_timeout', '0', false), pg_advisory_lock(hashtextextended(%(name)s, 0))

-- name: try_for_session
-- See wait_for_session.
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0)), set_config('idle_session_timeout', '0', false)
