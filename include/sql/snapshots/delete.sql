DELETE FROM {table} WHERE event_timestamp = %(event_timestamp)s
