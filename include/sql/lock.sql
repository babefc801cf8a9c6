-- name: wait
SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))

-- name: wait_for_session
-- A session that waits for a fit is idle: disable the server's timeout, which would release the lock.
SELECT set_config('idle_session_timeout', '0', false), pg_advisory_lock(hashtextextended(%(name)s, 0))

-- name: try_for_session
-- See wait_for_session.
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0)), set_config('idle_session_timeout', '0', false)

-- name: wait_for_session_shared
-- See wait_for_session.
SELECT set_config('idle_session_timeout', '0', false), pg_advisory_lock_shared(hashtextextended(%(name)s, 0))
