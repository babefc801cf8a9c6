-- One row per user_id and as_of. event_timestamp is the instant from which the snapshot is known; Feast filters on it
-- alone, so it is what the tables are partitioned and keyed by.
CREATE TABLE snapshots.subscriptions_profile_snapshots (
    user_id            text             NOT NULL,
    as_of              date             NOT NULL,
    event_timestamp    timestamptz      NOT NULL CHECK (event_timestamp = (as_of + 1)::timestamp AT TIME ZONE 'UTC'),
    signup_date        date             NOT NULL,
    user_gender        text             NOT NULL,
    user_is_senior     boolean          NOT NULL,
    has_family         boolean          NOT NULL,
    has_dependents     boolean          NOT NULL,
    months_active      bigint           NOT NULL,
    contract_type      text             NOT NULL,
    monthly_fee        double precision NOT NULL,
    total_paid         double precision,
    paperless_billing  boolean          NOT NULL,
    plan_stream_tv     boolean,
    plan_stream_movies boolean,
    net_service        text             NOT NULL,
    PRIMARY KEY (event_timestamp, user_id)
) PARTITION BY RANGE (event_timestamp);

CREATE TABLE snapshots.usage_agg_30d_snapshots (
    user_id             text             NOT NULL,
    as_of               date             NOT NULL,
    event_timestamp     timestamptz      NOT NULL CHECK (event_timestamp = (as_of + 1)::timestamp AT TIME ZONE 'UTC'),
    watch_hours_30d     double precision NOT NULL,
    avg_session_mins_7d double precision NOT NULL,
    unique_devices_30d  bigint           NOT NULL,
    skips_7d            bigint           NOT NULL,
    rebuffer_events_7d  bigint           NOT NULL,
    PRIMARY KEY (event_timestamp, user_id)
) PARTITION BY RANGE (event_timestamp);

CREATE TABLE snapshots.payments_agg_90d_snapshots (
    user_id             text        NOT NULL,
    as_of               date        NOT NULL,
    event_timestamp     timestamptz NOT NULL CHECK (event_timestamp = (as_of + 1)::timestamp AT TIME ZONE 'UTC'),
    failed_payments_90d bigint      NOT NULL,
    PRIMARY KEY (event_timestamp, user_id)
) PARTITION BY RANGE (event_timestamp);

CREATE TABLE snapshots.support_agg_90d_snapshots (
    user_id                       text        NOT NULL,
    as_of                         date        NOT NULL,
    event_timestamp               timestamptz NOT NULL CHECK (event_timestamp = (as_of + 1)::timestamp AT TIME ZONE 'UTC'),
    support_tickets_90d           bigint      NOT NULL,
    ticket_avg_resolution_hrs_90d double precision,
    PRIMARY KEY (event_timestamp, user_id)
) PARTITION BY RANGE (event_timestamp);

-- Keyed by the drop that delivered the label too: AS_OF D sees the latest one delivered by a drop <= D.
CREATE TABLE snapshots.labels_snapshots (
    user_id     text    NOT NULL,
    as_of       date    NOT NULL,
    drop_as_of  date    NOT NULL,
    churn_label boolean NOT NULL,
    PRIMARY KEY (drop_as_of, as_of, user_id),
    CHECK (as_of <= drop_as_of)
) PARTITION BY RANGE (drop_as_of);

CREATE TABLE snapshots.builds (
    as_of       date        PRIMARY KEY,
    drop_digest text        NOT NULL,
    code_digest text        NOT NULL,
    rows        jsonb       NOT NULL,
    label_dates date[]      NOT NULL,
    built_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE snapshots.builds IS 'what the snapshots of each AS_OF were built from';
COMMENT ON COLUMN snapshots.builds.label_dates IS 'the dates that its drop delivered labels for: a training set is planned without reading labels';
