CREATE SCHEMA scores;
COMMENT ON SCHEMA scores IS 'the list: for each AS_OF a score for every customer of its snapshot';

CREATE TABLE scores.runs (
    as_of              date             NOT NULL,
    revision           integer          NOT NULL CHECK (revision > 0),
    model_version      integer          NOT NULL,
    model_run_id       text             NOT NULL,
    model_as_of        date             NOT NULL,
    feature_service    text             NOT NULL,
    threshold          double precision NOT NULL,
    control_share      double precision NOT NULL,
    snapshot_digest    text             NOT NULL,
    code_digest        text             NOT NULL,
    rows               integer          NOT NULL,
    expected_churners  double precision NOT NULL,
    revenue_at_risk    double precision NOT NULL,
    scored_at          timestamptz      NOT NULL DEFAULT now(),
    sha256             text             NOT NULL,
    withdrawn_at       timestamptz,
    expired_at         timestamptz,
    PRIMARY KEY (as_of, revision)
);
COMMENT ON TABLE scores.runs IS 'one row per revision of the list of an AS_OF; only its end (withdrawn_at, expired_at) and the sha256 of a file written again change';
COMMENT ON COLUMN scores.runs.model_version IS 'the version of streamflow_churn that scored every row of the revision';
COMMENT ON COLUMN scores.runs.model_as_of IS 'the AS_OF of that version; never after as_of';
COMMENT ON COLUMN scores.runs.snapshot_digest IS 'sha256 of the snapshot''s drop and of the code that built it';
COMMENT ON COLUMN scores.runs.expected_churners IS 'the sum of churn_probability';
COMMENT ON COLUMN scores.runs.revenue_at_risk IS 'the sum of revenue_at_risk, per month';
COMMENT ON COLUMN scores.runs.sha256 IS 'of scores.parquet';
COMMENT ON COLUMN scores.runs.withdrawn_at IS 'when the drop was withdrawn; such a revision is not in scores.current';
COMMENT ON COLUMN scores.runs.expired_at IS 'when retention deleted the rows and the files';

-- A partition for each revision: it is filled and indexed before it is attached, and retention drops it whole.
CREATE TABLE scores.customers (
    as_of             date             NOT NULL,
    revision          integer          NOT NULL,
    user_id           text COLLATE "C" NOT NULL,
    churn_probability double precision NOT NULL,
    prediction        smallint         NOT NULL,
    rank              integer          NOT NULL,
    decile            smallint         NOT NULL,
    monthly_fee       double precision NOT NULL,
    revenue_at_risk   double precision NOT NULL,
    arm               text             NOT NULL,
    reasons           jsonb,
    model_version     integer          NOT NULL,
    PRIMARY KEY (as_of, revision, rank)
) PARTITION BY RANGE (as_of, revision);
CREATE INDEX ON scores.customers (user_id);
COMMENT ON COLUMN scores.customers.rank IS '1 = most likely to leave; ties by user_id in byte order';
COMMENT ON COLUMN scores.customers.decile IS '1 = the tenth of the customers that is most likely to leave';
COMMENT ON COLUMN scores.customers.revenue_at_risk IS 'churn_probability * monthly_fee, per month';
COMMENT ON COLUMN scores.customers.arm IS 'control: leave alone, so that the effect of a campaign can be measured; else treat';
COMMENT ON COLUMN scores.customers.reasons IS
    'the three features that moved the score most, [{feature, value, effect}]; in the top decile, NULL elsewhere';

CREATE VIEW scores.snapshots AS
SELECT
    as_of,
    encode(sha256(convert_to(drop_digest || ' ' || code_digest, 'UTF8')), 'hex') AS digest,
    drop_digest,
    (rows ->> 'subscriptions_profile_snapshots')::integer AS rows
FROM snapshots.builds
WHERE expired_at IS NULL;
COMMENT ON VIEW scores.snapshots IS 'the snapshots that can be scored; digest as in scores.runs.snapshot_digest';

CREATE VIEW scores.current_runs AS
SELECT DISTINCT ON (as_of) *
FROM scores.runs
WHERE withdrawn_at IS NULL AND expired_at IS NULL
ORDER BY as_of, revision DESC;
COMMENT ON VIEW scores.current_runs IS 'the newest revision of each AS_OF';

CREATE VIEW scores.current AS
SELECT customers.* FROM scores.customers JOIN scores.current_runs USING (as_of, revision);
COMMENT ON VIEW scores.current IS 'the newest list of each AS_OF';
