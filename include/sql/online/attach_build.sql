ALTER TABLE {table} ATTACH PARTITION {build_table} FOR VALUES IN ({build})
