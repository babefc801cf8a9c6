INSERT INTO snapshots.builds (as_of, drop_digest, code_digest, rows, label_dates)
VALUES (
    %(as_of)s, %(drop_digest)s, %(code_digest)s, %(rows)s,
    ARRAY(SELECT DISTINCT as_of FROM snapshots.labels_snapshots WHERE drop_as_of = %(as_of)s ORDER BY as_of)
)
ON CONFLICT (as_of) DO UPDATE SET
    drop_digest = EXCLUDED.drop_digest,
    code_digest = EXCLUDED.code_digest,
    rows = EXCLUDED.rows,
    label_dates = EXCLUDED.label_dates,
    built_at = now(),
    expired_at = NULL
