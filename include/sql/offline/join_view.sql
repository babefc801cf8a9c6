LEFT JOIN {source} AS {view}
    ON {view}.{join_key} = entities.{join_key}
    AND {view}.{timestamp} = date_trunc('day', entities.event_timestamp, 'UTC')
    AND {view}.{timestamp} + {ttl} >= entities.event_timestamp
    AND {view}.{timestamp} BETWEEN {first} AND {last}
