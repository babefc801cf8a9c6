-- raw.* of an AS_OF into the naive snapshots.
INSERT INTO snapshots.subscriptions_profile_snapshots (
    user_id, as_of, event_timestamp,
    signup_date, user_gender, user_is_senior, has_family, has_dependents,
    months_active, contract_type, monthly_fee, total_paid, paperless_billing,
    plan_stream_tv, plan_stream_movies, net_service
)
SELECT
    s.user_id, s.as_of, %(event_timestamp)s,
    u.signup_date, u.user_gender, u.user_is_senior, u.has_family, u.has_dependents,
    s.months_active, s.contract_type, s.monthly_fee, s.total_paid, s.paperless_billing,
    s.plan_stream_tv, s.plan_stream_movies, s.net_service
FROM raw.subscriptions s JOIN raw.users u ON u.as_of = s.as_of AND u.user_id = s.user_id
WHERE s.as_of = %(as_of)s
ON CONFLICT (event_timestamp, user_id) DO UPDATE SET
    (
        signup_date, user_gender, user_is_senior, has_family, has_dependents,
        months_active, contract_type, monthly_fee, total_paid, paperless_billing,
        plan_stream_tv, plan_stream_movies, net_service
    ) = ROW (
        EXCLUDED.signup_date, EXCLUDED.user_gender, EXCLUDED.user_is_senior, EXCLUDED.has_family,
        EXCLUDED.has_dependents, EXCLUDED.months_active, EXCLUDED.contract_type, EXCLUDED.monthly_fee,
        EXCLUDED.total_paid, EXCLUDED.paperless_billing, EXCLUDED.plan_stream_tv, EXCLUDED.plan_stream_movies,
        EXCLUDED.net_service
    );

INSERT INTO snapshots.usage_agg_30d_snapshots (
    user_id, as_of, event_timestamp,
    watch_hours_30d, avg_session_mins_7d, unique_devices_30d, skips_7d, rebuffer_events_7d
)
SELECT
    user_id, as_of, %(event_timestamp)s,
    watch_hours_30d, avg_session_mins_7d, unique_devices_30d, skips_7d, rebuffer_events_7d
FROM raw.usage_agg_30d
WHERE as_of = %(as_of)s
ON CONFLICT (event_timestamp, user_id) DO UPDATE SET
    (watch_hours_30d, avg_session_mins_7d, unique_devices_30d, skips_7d, rebuffer_events_7d) = ROW (
        EXCLUDED.watch_hours_30d, EXCLUDED.avg_session_mins_7d, EXCLUDED.unique_devices_30d, EXCLUDED.skips_7d,
        EXCLUDED.rebuffer_events_7d
    );

INSERT INTO snapshots.payments_agg_90d_snapshots (user_id, as_of, event_timestamp, failed_payments_90d)
SELECT user_id, as_of, %(event_timestamp)s, failed_payments_90d
FROM raw.payments_agg_90d
WHERE as_of = %(as_of)s
ON CONFLICT (event_timestamp, user_id) DO UPDATE SET failed_payments_90d = EXCLUDED.failed_payments_90d;

INSERT INTO snapshots.support_agg_90d_snapshots (
    user_id, as_of, event_timestamp, support_tickets_90d, ticket_avg_resolution_hrs_90d
)
SELECT user_id, as_of, %(event_timestamp)s, support_tickets_90d, ticket_avg_resolution_hrs_90d
FROM raw.support_agg_90d
WHERE as_of = %(as_of)s
ON CONFLICT (event_timestamp, user_id) DO UPDATE SET
    (support_tickets_90d, ticket_avg_resolution_hrs_90d) = ROW (
        EXCLUDED.support_tickets_90d, EXCLUDED.ticket_avg_resolution_hrs_90d
    );

INSERT INTO snapshots.labels_snapshots (as_of, user_id, churn_label)
SELECT as_of, user_id, churn_label
FROM raw.labels
WHERE as_of = %(as_of)s
ON CONFLICT (as_of, user_id) DO UPDATE SET churn_label = EXCLUDED.churn_label;
