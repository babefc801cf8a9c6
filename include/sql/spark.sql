-- In Spark's SQL, over temporary views; values are bound as :name. Beside each: the statement of Postgres with the same
-- meaning.

-- name: actions_snapshots
-- As snapshots/actions_snapshots.
SELECT user_id, action_as_of AS as_of, as_of AS drop_as_of, action
FROM raw_actions

-- name: customers
-- As scores/entities.
SELECT user_id, event_timestamp, monthly_fee AS fee
FROM subscriptions_profile_snapshots
WHERE event_timestamp = CAST(:event_timestamp AS TIMESTAMP)

-- name: entities
-- As training/entities: of each customer the label that the latest drop delivered.
SELECT l.user_id, l.churn_label, s.event_timestamp
FROM (
    SELECT user_id, max_by(churn_label, drop_as_of) AS churn_label
    FROM labels_snapshots
    WHERE as_of = :labelled AND drop_as_of BETWEEN :labelled AND :as_of
      -- As training/in_sample, in hexadecimal.
      AND mod(size(filter(:bounds, edge -> edge <= left(sha2(concat(:salt, ':', user_id), 256), 16))), 2) = 1
    GROUP BY user_id
) l
JOIN subscriptions_profile_snapshots s
    ON s.user_id = l.user_id AND s.event_timestamp = CAST(:event_timestamp AS TIMESTAMP)

-- name: join
-- As offline/join.
SELECT entities.*, {features}
FROM entities
{views}

-- name: join_view
LEFT JOIN {source} AS {view}
    ON {view}.{join_key} = entities.{join_key}
    AND {view}.{timestamp} = date_trunc('DAY', entities.event_timestamp)
    AND timestampadd(SECOND, {ttl}, {view}.{timestamp}) >= entities.event_timestamp

-- name: labels_snapshots
-- As snapshots/labels_snapshots.
SELECT user_id, label_as_of AS as_of, as_of AS drop_as_of, churn_label
FROM raw_labels

-- name: payments_agg_90d_snapshots
-- As snapshots/payments_agg_90d_snapshots.
SELECT user_id, as_of, CAST(:event_timestamp AS TIMESTAMP) AS event_timestamp, failed_payments_90d
FROM raw_payments_agg_90d

-- name: subscriptions_profile_snapshots
-- As snapshots/subscriptions_profile_snapshots.
SELECT
    s.user_id, s.as_of, CAST(:event_timestamp AS TIMESTAMP) AS event_timestamp,
    u.signup_date, u.user_gender, u.user_is_senior, u.has_family, u.has_dependents,
    s.months_active, s.contract_type, s.monthly_fee, s.total_paid, s.paperless_billing,
    s.plan_stream_tv, s.plan_stream_movies, s.net_service
FROM raw_subscriptions s JOIN raw_users u ON u.user_id = s.user_id

-- name: support_agg_90d_snapshots
-- As snapshots/support_agg_90d_snapshots.
SELECT
    user_id, as_of, CAST(:event_timestamp AS TIMESTAMP) AS event_timestamp,
    support_tickets_90d, ticket_avg_resolution_hrs_90d
FROM raw_support_agg_90d

-- name: usage_agg_30d_snapshots
-- As snapshots/usage_agg_30d_snapshots.
SELECT
    user_id, as_of, CAST(:event_timestamp AS TIMESTAMP) AS event_timestamp,
    watch_hours_30d, avg_session_mins_7d, unique_devices_30d, skips_7d, rebuffer_events_7d
FROM raw_usage_agg_30d
