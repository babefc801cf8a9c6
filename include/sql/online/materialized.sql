-- The AS_OFs that were ever materialized, the newest first; not what was withdrawn, whose snapshot is no more.
SELECT DISTINCT as_of, snapshots.builds.expired_at IS NOT NULL AS is_expired
FROM online.builds
JOIN snapshots.builds USING (as_of)
WHERE state IN ('published', 'older')
ORDER BY as_of DESC
