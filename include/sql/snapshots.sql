-- name: actions_snapshots
INSERT INTO {table} (user_id, as_of, drop_as_of, action)
SELECT user_id, action_as_of, as_of, action
FROM raw.actions
WHERE as_of = %(drop_as_of)s
ORDER BY action_as_of, user_id, action

-- name: any_build
SELECT FROM snapshots.builds WHERE as_of = %(as_of)s

-- name: current_build
SELECT drop_digest, code_digest, rows FROM snapshots.builds WHERE as_of = %(as_of)s AND expired_at IS NULL

-- name: delete
DELETE FROM {table} WHERE event_timestamp = %(event_timestamp)s

-- name: delete_delivered
DELETE FROM {table} WHERE drop_as_of = %(drop_as_of)s

-- name: labels_snapshots
INSERT INTO {table} (user_id, as_of, drop_as_of, churn_label)
SELECT user_id, label_as_of, as_of, churn_label
FROM raw.labels
WHERE as_of = %(drop_as_of)s
ORDER BY label_as_of, user_id

-- name: payments_agg_90d_snapshots
INSERT INTO {table} (user_id, as_of, event_timestamp, failed_payments_90d)
SELECT user_id, as_of, %(event_timestamp)s, failed_payments_90d
FROM raw.payments_agg_90d
WHERE as_of = %(as_of)s
ORDER BY user_id

-- name: record_build
INSERT INTO snapshots.builds (as_of, drop_digest, code_digest, rows, label_dates)
VALUES (
    %(as_of)s, %(drop_digest)s, %(code_digest)s, %(rows)s,
    ARRAY(SELECT DISTINCT as_of FROM snapshots.labels_snapshots WHERE drop_as_of = %(as_of)s ORDER BY as_of)
)
ON CONFLICT (as_of) DO UPDATE SET
    drop_digest = EXCLUDED.drop_digest,
    code_digest = EXCLUDED.code_digest,
    rows = EXCLUDED.rows,
    label_dates = EXCLUDED.label_dates,
    built_at = now(),
    expired_at = NULL

-- name: subscriptions_profile_snapshots
INSERT INTO {table} (
    user_id, as_of, event_timestamp,
    signup_date, user_gender, user_is_senior, has_family, has_dependents,
    months_active, contract_type, monthly_fee, total_paid, paperless_billing,
    plan_stream_tv, plan_stream_movies, net_service
)
SELECT
    user_id, as_of, %(event_timestamp)s,
    u.signup_date, u.user_gender, u.user_is_senior, u.has_family, u.has_dependents,
    s.months_active, s.contract_type, s.monthly_fee, s.total_paid, s.paperless_billing,
    s.plan_stream_tv, s.plan_stream_movies, s.net_service
FROM raw.subscriptions s JOIN raw.users u USING (as_of, user_id)
WHERE as_of = %(as_of)s
ORDER BY user_id

-- name: support_agg_90d_snapshots
INSERT INTO {table} (
    user_id, as_of, event_timestamp, support_tickets_90d, ticket_avg_resolution_hrs_90d
)
SELECT user_id, as_of, %(event_timestamp)s, support_tickets_90d, ticket_avg_resolution_hrs_90d
FROM raw.support_agg_90d
WHERE as_of = %(as_of)s
ORDER BY user_id

-- name: usage_agg_30d_snapshots
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
