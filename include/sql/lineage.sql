-- name: revisions
-- The revisions with these contents. Content that was loaded twice has the same files.
SELECT DISTINCT ON (r.as_of) r.as_of, r.revision, r.validated_at, r.digest, r.rules, r.files
FROM raw.revisions r
JOIN unnest(%(as_ofs)s::date[], %(digests)s::text[]) AS wanted (as_of, digest) USING (as_of, digest)
ORDER BY r.as_of, r.revision DESC
