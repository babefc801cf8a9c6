LEFT JOIN {table} AS {view} ON {view}.build = (SELECT build FROM online.served) AND {view}.{join_key} = keys.key
