SELECT as_of FROM raw.drops WHERE expired_at IS NULL AND as_of < %(before)s ORDER BY as_of
