SELECT as_of FROM snapshots.builds WHERE expired_at IS NULL AND as_of < %(before)s ORDER BY as_of
