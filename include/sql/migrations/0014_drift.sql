CREATE SCHEMA IF NOT EXISTS drift;
COMMENT ON SCHEMA drift IS 'each AS_OF held against what its version was trained on, and against an earlier AS_OF';

CREATE TABLE drift.version_references (
    model_version integer     NOT NULL,
    model_run_id  text        NOT NULL,
    learned_from  date[]      NOT NULL,
    profiles      jsonb       NOT NULL,
    made_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_version, model_run_id)
);
COMMENT ON TABLE drift.version_references IS 'the reference of a version, frozen when it is first needed: {column: counts on frozen bins} of its training data';
COMMENT ON COLUMN drift.version_references.profiles IS
    'churn_probability is of the gate and audit cohorts, whom the version did not learn from';

CREATE TABLE drift.columns (
    as_of           date             NOT NULL,
    revision        integer          NOT NULL CHECK (revision > 0),
    model_version   integer,
    model_run_id    text,
    reference       text             NOT NULL CHECK (reference IN ('version', 'before', 'week before')),
    reference_as_of date,
    column_name     text             NOT NULL,
    rows            integer          NOT NULL,
    reference_rows  integer          NOT NULL,
    finding         text             NOT NULL
        CHECK (finding IN ('none', 'too few rows', 'drift', 'null spike', 'new category', 'constant')),
    flagged         boolean          NOT NULL,
    effect          double precision,
    effect_limit    double precision NOT NULL,
    test            text,
    statistic       double precision,
    p_value         double precision,
    detail          text             NOT NULL,
    inputs_digest   text             NOT NULL,
    known_at        timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (as_of, revision, reference, column_name)
);
COMMENT ON TABLE drift.columns IS 'one row per AS_OF, revision, reference and column';
COMMENT ON COLUMN drift.columns.model_version IS 'the version that scored the AS_OF; NULL: none did';
COMMENT ON COLUMN drift.columns.reference_as_of IS 'of before and week before; NULL: the training data of the version';
COMMENT ON COLUMN drift.columns.rows IS 'compared rows: a sample of the customers where there are more than 65,536';
COMMENT ON COLUMN drift.columns.effect IS 'PSI less its mean by chance, at least 0; of the question that finding answers';
COMMENT ON COLUMN drift.columns.p_value IS 'before the correction over all columns and references of the AS_OF';
COMMENT ON COLUMN drift.columns.inputs_digest IS 'sha256 of the snapshots, lists, version and code that were compared';

CREATE FUNCTION drift.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'drift.% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON drift.version_references
    FOR EACH ROW EXECUTE FUNCTION drift.refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON drift.version_references
    FOR EACH STATEMENT EXECUTE FUNCTION drift.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON drift.columns
    FOR EACH ROW EXECUTE FUNCTION drift.refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON drift.columns
    FOR EACH STATEMENT EXECUTE FUNCTION drift.refuse_change();

-- Withdrawal deletes the row of snapshots.builds, retention does not.
CREATE VIEW drift.current AS
SELECT compared.*
FROM drift.columns compared
JOIN (SELECT as_of, max(revision) AS revision FROM drift.columns GROUP BY as_of) newest USING (as_of, revision)
WHERE EXISTS (SELECT FROM snapshots.builds WHERE builds.as_of = compared.as_of);
COMMENT ON VIEW drift.current IS 'the newest revision of each AS_OF that is not withdrawn';
