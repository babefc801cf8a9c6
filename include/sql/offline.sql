-- name: analyze
ANALYZE entities

-- name: days
-- The first and the last snapshot that an entity can match.
SELECT date_trunc('day', min(event_timestamp), 'UTC'), date_trunc('day', max(event_timestamp), 'UTC') FROM entities

-- name: entities
CREATE TEMPORARY TABLE entities ON COMMIT DROP AS {entity_query}

-- name: join
SELECT entities.*, {features}
FROM entities
{views}

-- name: join_view
LEFT JOIN {source} AS {view}
    ON {view}.{join_key} = entities.{join_key}
    AND {view}.{timestamp} = date_trunc('day', entities.event_timestamp, 'UTC')
    AND {view}.{timestamp} + {ttl} >= entities.event_timestamp
    AND {view}.{timestamp} BETWEEN {first} AND {last}
