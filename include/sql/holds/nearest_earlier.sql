SELECT as_of, digest, rules, files, profile
FROM raw.drops
WHERE as_of < %(as_of)s
ORDER BY as_of DESC
LIMIT 1
