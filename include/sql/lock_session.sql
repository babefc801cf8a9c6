-- A session that waits for a fit is idle: the server's limit on that must not take the lock.
SELECT set_config('idle_session_timeout', '0', false), pg_advisory_lock(hashtextextended(%(name)s, 0))
