SELECT count(*) FROM {build_table}
