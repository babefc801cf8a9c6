INSERT INTO {table} (user_id, as_of, event_timestamp, failed_payments_90d)
SELECT user_id, as_of, %(event_timestamp)s, failed_payments_90d
FROM raw.payments_agg_90d
WHERE as_of = %(as_of)s
ORDER BY user_id
