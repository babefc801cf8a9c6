-- Not what a chain has just validated, or validated again: it may be about to build snapshots of it.
SELECT as_of FROM raw.drops
WHERE expired_at IS NULL AND as_of < %(before)s AND validated_at < now() - interval '2 days'
ORDER BY as_of
