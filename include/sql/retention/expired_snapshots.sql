-- Not what a chain has just built, or found unchanged after it validated its drop again: it may be about to materialize it
-- or to train on it.
SELECT as_of
FROM snapshots.builds b
JOIN raw.drops d USING (as_of)
WHERE b.expired_at IS NULL AND as_of < %(before)s AND greatest(b.built_at, d.validated_at) < now() - interval '2 days'
ORDER BY as_of
