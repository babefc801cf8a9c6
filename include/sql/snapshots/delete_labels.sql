DELETE FROM {table} WHERE drop_as_of = %(drop_as_of)s
