-- See lock_session.sql.
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0)), set_config('idle_session_timeout', '0', false)
