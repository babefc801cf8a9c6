-- name: all
SELECT as_of, held_at, content, verdict, against_as_of, against_digest, findings
FROM raw.holds
ORDER BY as_of

-- name: forget
-- Not a hold that was renewed meanwhile.
DELETE FROM raw.holds WHERE as_of = %(as_of)s AND held_at = %(held_at)s

-- name: history
-- Every past content of the AS_OF.
SELECT r.revision, r.digest, r.rules, r.accepted, r.withdrawn_at, w.who, w.why
FROM raw.revisions r
LEFT JOIN raw.withdrawals w USING (as_of, withdrawn_at)
WHERE r.as_of = %(as_of)s
ORDER BY r.revision

-- name: hold
-- Each comparison renews held_at: the next run's id depends on it.
INSERT INTO raw.holds (as_of, content, verdict, against_as_of, against_digest, findings)
VALUES (%(as_of)s, %(content)s, %(verdict)s, %(against_as_of)s, %(against_digest)s, %(findings)s)
ON CONFLICT (as_of) DO UPDATE SET
    held_at = now(),
    content = EXCLUDED.content,
    verdict = EXCLUDED.verdict,
    against_as_of = EXCLUDED.against_as_of,
    against_digest = EXCLUDED.against_digest,
    findings = EXCLUDED.findings

-- name: lift
DELETE FROM raw.holds WHERE as_of = %(as_of)s

-- name: nearest_earlier
SELECT as_of, digest, rules, files, profile
FROM raw.drops
WHERE as_of < %(as_of)s
ORDER BY as_of DESC
LIMIT 1

-- name: verdict
SELECT verdict FROM raw.holds WHERE as_of = %(as_of)s
