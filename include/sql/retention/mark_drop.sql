UPDATE raw.revisions SET expired_at = now()
WHERE as_of = %(as_of)s AND revision = (SELECT revision FROM raw.drops WHERE as_of = %(as_of)s)
