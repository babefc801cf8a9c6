-- The first and the last snapshot that an entity can see.
SELECT date_trunc('day', min(event_timestamp), 'UTC'), date_trunc('day', max(event_timestamp), 'UTC') FROM entities
