SELECT revision, withdrawn_at
FROM raw.revisions
WHERE as_of = %(as_of)s AND withdrawn_at IS NOT NULL
ORDER BY revision DESC
LIMIT 1
