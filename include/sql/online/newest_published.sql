-- The newest AS_OF that was ever served and can be again.
SELECT max(as_of)
FROM online.builds
JOIN snapshots.builds USING (as_of)
WHERE state = 'published' AND expired_at IS NULL
