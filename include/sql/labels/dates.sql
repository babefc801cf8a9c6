SELECT DISTINCT label_as_of FROM raw.labels WHERE as_of = %(as_of)s ORDER BY label_as_of
