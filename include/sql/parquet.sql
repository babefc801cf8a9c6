-- name: drop
-- The content that a snapshot was built from, and the rules that it was accepted by.
SELECT validated_at, files, rules
FROM raw.revisions
WHERE as_of = %(as_of)s AND digest = %(digest)s
ORDER BY revision DESC
LIMIT 1

-- name: needed
-- The snapshots that a join of a labelled date reads: that of the date, and those of the drops that labelled it.
SELECT as_of, drop_digest
FROM snapshots.builds
WHERE expired_at IS NULL
  AND (as_of = %(labelled)s OR as_of BETWEEN %(labelled)s AND %(as_of)s AND %(labelled)s = ANY(label_dates))
ORDER BY as_of
