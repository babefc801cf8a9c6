-- Each drop as loaded. `raw.revisions` keeps every content that an AS_OF ever had; the archive holds the files by their hash.
CREATE TABLE raw.revisions (
    as_of        date        NOT NULL,
    revision     integer     NOT NULL CHECK (revision >= 1),
    received_at  timestamptz NOT NULL DEFAULT now(),
    validated_at timestamptz NOT NULL,
    digest       text        NOT NULL,
    code_digest  text        NOT NULL,
    files        jsonb       NOT NULL,
    PRIMARY KEY (as_of, revision)
);
COMMENT ON COLUMN raw.revisions.validated_at IS 'when its files began to be read: a content read earlier never replaces it';
COMMENT ON COLUMN raw.revisions.digest IS 'sha256 over the names and sha256 of the files';
COMMENT ON COLUMN raw.revisions.code_digest IS 'the code that loaded it: the same drop is loaded again by other code';
COMMENT ON COLUMN raw.revisions.files IS '{file: {sha256, rows, bytes, modified_ns}}';

CREATE VIEW raw.drops AS
SELECT DISTINCT ON (as_of) as_of, revision, received_at, validated_at, digest, code_digest, files
FROM raw.revisions
ORDER BY as_of, revision DESC;
COMMENT ON VIEW raw.drops IS 'one row per AS_OF: the revision that is loaded';

-- What validate accepted, file by file: the customers of a file are checked there, so that these tables need no key, which
-- would cost more than the rows. A revision is read and deleted as a whole, and lies together on disk.
CREATE TABLE raw.users (
    as_of          date    NOT NULL,
    user_id        text    NOT NULL,
    signup_date    date    NOT NULL,
    user_gender    text    NOT NULL,
    user_is_senior boolean NOT NULL,
    has_family     boolean NOT NULL,
    has_dependents boolean NOT NULL
) PARTITION BY RANGE (as_of);
CREATE INDEX ON raw.users USING brin (as_of) WITH (autosummarize = on);

CREATE TABLE raw.subscriptions (
    as_of              date             NOT NULL,
    user_id            text             NOT NULL,
    months_active      bigint           NOT NULL,
    plan_stream_tv     boolean,
    plan_stream_movies boolean,
    contract_type      text             NOT NULL,
    paperless_billing  boolean          NOT NULL,
    monthly_fee        double precision NOT NULL,
    total_paid         double precision,
    net_service        text             NOT NULL
) PARTITION BY RANGE (as_of);
CREATE INDEX ON raw.subscriptions USING brin (as_of) WITH (autosummarize = on);

CREATE TABLE raw.usage_agg_30d (
    as_of               date             NOT NULL,
    user_id             text             NOT NULL,
    watch_hours_30d     double precision NOT NULL,
    avg_session_mins_7d double precision NOT NULL,
    unique_devices_30d  bigint           NOT NULL,
    skips_7d            bigint           NOT NULL,
    rebuffer_events_7d  bigint           NOT NULL
) PARTITION BY RANGE (as_of);
CREATE INDEX ON raw.usage_agg_30d USING brin (as_of) WITH (autosummarize = on);

CREATE TABLE raw.payments_agg_90d (
    as_of               date   NOT NULL,
    user_id             text   NOT NULL,
    failed_payments_90d bigint NOT NULL
) PARTITION BY RANGE (as_of);
CREATE INDEX ON raw.payments_agg_90d USING brin (as_of) WITH (autosummarize = on);

CREATE TABLE raw.support_agg_90d (
    as_of                         date   NOT NULL,
    user_id                       text   NOT NULL,
    support_tickets_90d           bigint NOT NULL,
    ticket_avg_resolution_hrs_90d double precision
) PARTITION BY RANGE (as_of);
CREATE INDEX ON raw.support_agg_90d USING brin (as_of) WITH (autosummarize = on);

-- A label belongs to a date of its own, `label_as_of`; as_of is the drop that brought it, as everywhere in raw.
CREATE TABLE raw.labels (
    as_of       date    NOT NULL,
    label_as_of date    NOT NULL,
    user_id     text    NOT NULL,
    churn_label boolean NOT NULL,
    CHECK (label_as_of <= as_of)
) PARTITION BY RANGE (as_of);
CREATE INDEX ON raw.labels USING brin (as_of) WITH (autosummarize = on);
