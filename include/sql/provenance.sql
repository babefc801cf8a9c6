-- name: append
INSERT INTO registry.trusted_files (file, sha256, run_id, version, who, why)
VALUES (%(file)s, %(sha256)s, %(run_id)s, %(version)s, %(who)s, %(why)s)

-- name: recorded
SELECT EXISTS (SELECT FROM registry.trusted_files WHERE file = %(file)s AND sha256 = %(sha256)s)

-- name: upgraded_at
-- When this database got its table of hashes, where it knew versions before that and their files are not recorded yet.
SELECT applied_at
FROM public.churn_migrations
WHERE name = '0011_trusted_files'
  AND EXISTS (SELECT FROM gate.decisions WHERE decided_at < applied_at)
  AND NOT EXISTS (SELECT FROM registry.trusted_files WHERE who = %(upgrade)s)
