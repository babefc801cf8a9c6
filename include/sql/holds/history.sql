-- Every content that the AS_OF ever had, and what became of it.
SELECT r.revision, r.digest, r.rules, r.accepted, r.withdrawn_at, w.who, w.why
FROM raw.revisions r
LEFT JOIN raw.withdrawals w USING (as_of, withdrawn_at)
WHERE r.as_of = %(as_of)s
ORDER BY r.revision
