-- Read when the lock is held: a run that validated while we waited for it was before us.
SELECT clock_timestamp()
