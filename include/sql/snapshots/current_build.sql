SELECT drop_digest, code_digest, rows FROM snapshots.builds WHERE as_of = %(as_of)s AND expired_at IS NULL
