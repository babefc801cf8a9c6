-- Each customer of a snapshot, with the features of a view as a JSON array.
SELECT {join_key}, array_to_json(ARRAY[{features}])::text
FROM {source} AS source
WHERE {timestamp} = %(event_timestamp)s
