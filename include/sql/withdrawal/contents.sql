-- The contents of an AS_OF that were withdrawn. One that was accepted again since is not among them.
SELECT digest, max(withdrawn_at)
FROM raw.revisions
WHERE as_of = %(as_of)s
GROUP BY digest
HAVING every(withdrawn_at IS NOT NULL)
