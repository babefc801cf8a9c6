-- The rows of a drop that retention removed were loaded by no code: whoever needs them loads them again.
SELECT revision, digest, CASE WHEN expired_at IS NULL THEN code_digest END, validated_at
FROM raw.drops
WHERE as_of = %(as_of)s
