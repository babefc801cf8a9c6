INSERT INTO {table} (
    user_id, as_of, event_timestamp, support_tickets_90d, ticket_avg_resolution_hrs_90d
)
SELECT user_id, as_of, %(event_timestamp)s, support_tickets_90d, ticket_avg_resolution_hrs_90d
FROM raw.support_agg_90d
WHERE as_of = %(as_of)s
ORDER BY user_id
