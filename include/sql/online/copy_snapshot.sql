INSERT INTO {table} (build, {join_key}, event_timestamp, {features})
SELECT %(build)s, {join_key}, {timestamp}, {features}
FROM {source} AS source
WHERE {timestamp} = %(event_timestamp)s
