-- The limit of a service reads the features of a customer as one row by its key: those of the newest AS_OF.
CREATE SCHEMA bench_limit;
CREATE TABLE bench_limit.customers AS
SELECT user_id, months_active, monthly_fee, paperless_billing, plan_stream_tv, plan_stream_movies, net_service,
    contract_type, watch_hours_30d, avg_session_mins_7d, unique_devices_30d, skips_7d, rebuffer_events_7d,
    failed_payments_90d, support_tickets_90d, ticket_avg_resolution_hrs_90d
FROM snapshots.subscriptions_profile_snapshots
JOIN snapshots.usage_agg_30d_snapshots USING (user_id, as_of)
JOIN snapshots.payments_agg_90d_snapshots USING (user_id, as_of)
JOIN snapshots.support_agg_90d_snapshots USING (user_id, as_of)
WHERE as_of = (SELECT max(as_of) FROM snapshots.support_agg_90d_snapshots);
ALTER TABLE bench_limit.customers ADD PRIMARY KEY (user_id);
ANALYZE bench_limit.customers;
GRANT USAGE ON SCHEMA bench_limit TO PUBLIC;
GRANT SELECT ON bench_limit.customers TO PUBLIC;
