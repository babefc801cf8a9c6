-- The instant is computed here: that of 9999-12-31 is no date in Python.
DELETE FROM {table} WHERE event_timestamp = (%(as_of)s::date + 1)::timestamp AT TIME ZONE 'UTC'
