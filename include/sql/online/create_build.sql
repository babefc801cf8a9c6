CREATE TABLE {build_table} (LIKE {table})
