SELECT build, begun_at
FROM online.builds
WHERE as_of = %(as_of)s AND state = 'writing'
ORDER BY build DESC
LIMIT 1
