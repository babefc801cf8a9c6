INSERT INTO {table} (
    user_id, as_of, event_timestamp,
    watch_hours_30d, avg_session_mins_7d, unique_devices_30d, skips_7d, rebuffer_events_7d
)
SELECT
    user_id, as_of, %(event_timestamp)s,
    watch_hours_30d, avg_session_mins_7d, unique_devices_30d, skips_7d, rebuffer_events_7d
FROM raw.usage_agg_30d
WHERE as_of = %(as_of)s
ORDER BY user_id
