-- name: delete_build
DELETE FROM snapshots.builds WHERE as_of = %(as_of)s

-- name: delete_features
-- Computed here, because the instant of 9999-12-31 is not a valid date in Python.
DELETE FROM {table} WHERE event_timestamp = (%(as_of)s::date + 1)::timestamp AT TIME ZONE 'UTC'

-- name: delete_hold
DELETE FROM raw.holds WHERE as_of = %(as_of)s

-- name: instant
-- Read while the lock is held, so it is later than every validation that finished before.
SELECT clock_timestamp()

-- name: last
SELECT withdrawn_at, who, why FROM raw.withdrawals WHERE as_of = %(as_of)s ORDER BY withdrawn_at DESC LIMIT 1

-- name: mark_online_builds
-- A build that is being written is left alone: the materialization notices that its snapshot is gone.
UPDATE online.builds SET state = 'withdrawn' WHERE as_of = %(as_of)s AND state <> 'writing'

-- name: mark_revisions
-- All revisions: an _ACCEPT from before the withdrawal is no longer valid.
UPDATE raw.revisions SET withdrawn_at = %(withdrawn_at)s WHERE as_of = %(as_of)s

-- name: newest_revision
SELECT revision, withdrawn_at
FROM raw.revisions
WHERE as_of = %(as_of)s AND withdrawn_at IS NOT NULL
ORDER BY revision DESC
LIMIT 1

-- name: record
INSERT INTO raw.withdrawals (as_of, withdrawn_at, who, why)
VALUES (%(as_of)s, %(withdrawn_at)s, %(who)s, %(why)s)

-- name: withdrawn
-- The withdrawn AS_OFs without a newer drop: the last withdrawal, by whom and why.
SELECT DISTINCT ON (as_of) as_of, withdrawn_at, who, why
FROM raw.withdrawals
WHERE NOT EXISTS (SELECT FROM raw.drops WHERE drops.as_of = withdrawals.as_of)
ORDER BY as_of, withdrawn_at DESC
