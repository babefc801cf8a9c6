DELETE FROM {table} WHERE as_of = %(as_of)s
