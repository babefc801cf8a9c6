-- The naive snapshots: the columns and keys of ours, without partitions.
CREATE SCHEMA snapshots;
CREATE SCHEMA feast;

CREATE TABLE snapshots.subscriptions_profile_snapshots AS
SELECT s.*, u.signup_date, u.user_gender, u.user_is_senior, u.has_family, u.has_dependents,
    NULL::timestamptz AS event_timestamp
FROM raw.subscriptions s JOIN raw.users u USING (as_of, user_id)
WITH NO DATA;
ALTER TABLE snapshots.subscriptions_profile_snapshots ADD PRIMARY KEY (event_timestamp, user_id);

CREATE TABLE snapshots.usage_agg_30d_snapshots AS
SELECT *, NULL::timestamptz AS event_timestamp FROM raw.usage_agg_30d WITH NO DATA;
ALTER TABLE snapshots.usage_agg_30d_snapshots ADD PRIMARY KEY (event_timestamp, user_id);

CREATE TABLE snapshots.payments_agg_90d_snapshots AS
SELECT *, NULL::timestamptz AS event_timestamp FROM raw.payments_agg_90d WITH NO DATA;
ALTER TABLE snapshots.payments_agg_90d_snapshots ADD PRIMARY KEY (event_timestamp, user_id);

CREATE TABLE snapshots.support_agg_90d_snapshots AS
SELECT *, NULL::timestamptz AS event_timestamp FROM raw.support_agg_90d WITH NO DATA;
ALTER TABLE snapshots.support_agg_90d_snapshots ADD PRIMARY KEY (event_timestamp, user_id);

CREATE TABLE snapshots.labels_snapshots (LIKE raw.labels INCLUDING ALL);
