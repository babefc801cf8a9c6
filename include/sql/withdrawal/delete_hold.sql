DELETE FROM raw.holds WHERE as_of = %(as_of)s
