DROP TABLE IF EXISTS {build_table}
