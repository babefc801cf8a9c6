-- name: accepted
SELECT EXISTS (
    SELECT FROM raw.revisions WHERE as_of = %(as_of)s AND digest = %(digest)s AND withdrawn_at IS NULL
)

-- name: current_revision
-- The code digest is NULL after retention deleted the rows, so the drop is loaded again when needed.
SELECT revision, digest, CASE WHEN expired_at IS NULL THEN code_digest END, validated_at
FROM raw.drops
WHERE as_of = %(as_of)s

-- name: delete
DELETE FROM {table} WHERE as_of = %(as_of)s

-- name: loaded_drops
-- The loaded revision of each AS_OF, and withdrawn ones whose content was not accepted since; newest first.
SELECT as_of, revision, digest, files, withdrawn_at, landed_digests
FROM raw.revisions r
WHERE withdrawn_at IS NULL AND revision = (SELECT revision FROM raw.drops WHERE as_of = r.as_of)
   OR withdrawn_at IS NOT NULL AND NOT EXISTS (
       SELECT FROM raw.revisions live
       WHERE live.as_of = r.as_of AND live.digest = r.digest AND live.withdrawn_at IS NULL
   )
ORDER BY as_of, revision DESC

-- name: record_revision
INSERT INTO raw.revisions (
    as_of, revision, validated_at, digest, code_digest, rules, files, profile, accepted, landed_digests, erased_rows
)
VALUES (
    %(as_of)s, %(revision)s, %(validated_at)s, %(digest)s, %(code_digest)s, %(rules)s, %(files)s, %(profile)s,
    %(accepted)s, %(landed_digests)s, %(erased_rows)s
)
ON CONFLICT (as_of, revision) DO UPDATE SET
    validated_at = EXCLUDED.validated_at,
    code_digest = EXCLUDED.code_digest,
    files = EXCLUDED.files,
    profile = coalesce(EXCLUDED.profile, revisions.profile),
    accepted = coalesce(EXCLUDED.accepted, revisions.accepted),
    landed_digests = ARRAY(SELECT DISTINCT unnest(revisions.landed_digests || EXCLUDED.landed_digests)),
    erased_rows = greatest(EXCLUDED.erased_rows, revisions.erased_rows),
    expired_at = NULL

-- name: remember_files
UPDATE raw.revisions SET files = %(files)s
WHERE as_of = %(as_of)s AND revision = %(revision)s AND digest = %(digest)s
