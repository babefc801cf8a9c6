CREATE SCHEMA outcomes;
COMMENT ON SCHEMA outcomes IS 'scores held against the labels that came later: was the list right?';

CREATE TABLE outcomes.judgements (
    as_of               date        NOT NULL,
    revision            integer     NOT NULL CHECK (revision > 0),
    known_as_of         date        NOT NULL,
    list_revision       integer,
    list_version        integer,
    answering_version   integer,
    answering_run_id    text,
    labelled_by         jsonb       NOT NULL,
    treated_by          jsonb       NOT NULL,
    label_days          integer     NOT NULL,
    code_digest         text        NOT NULL,
    judged_at           timestamptz NOT NULL DEFAULT now(),
    withdrawn_at        timestamptz,
    PRIMARY KEY (as_of, revision)
);
COMMENT ON TABLE outcomes.judgements IS 'one row per judgement of a date; only its end (withdrawn_at) changes';
COMMENT ON COLUMN outcomes.judgements.as_of IS 'the judged date: that of the scores and of the labels';
COMMENT ON COLUMN outcomes.judgements.known_as_of IS 'the drop that brought or changed labels of as_of; later drops are not read';
COMMENT ON COLUMN outcomes.judgements.list_revision IS 'the revision of the list of as_of that was judged, NULL without a list';
COMMENT ON COLUMN outcomes.judgements.answering_version IS
    'the version that answered when the labels came, if it is not the version of the list';
COMMENT ON COLUMN outcomes.judgements.labelled_by IS '{drop: sha256} of each drop up to known_as_of with labels of as_of';

COMMENT ON COLUMN outcomes.judgements.treated_by IS 'the same of the drops with actions of as_of; empty: no campaign is known';

CREATE TABLE outcomes.performance (
    as_of                 date             NOT NULL,
    revision              integer          NOT NULL,
    model_version         integer          NOT NULL,
    model_run_id          text             NOT NULL,
    source                text             NOT NULL CHECK (source IN ('list', 'answering', 'api')),
    basis                 text             NOT NULL,
    arm                   text             NOT NULL CHECK (arm IN ('all', 'treat', 'control')),
    slice                 text             NOT NULL DEFAULT 'all',
    decides               boolean          NOT NULL,
    rows                  integer          NOT NULL,
    churned               integer          NOT NULL,
    auc                   double precision,
    auc_error             double precision,
    auc_low               double precision,
    auc_high              double precision,
    brier                 double precision,
    calibration_intercept double precision,
    calibration_slope     double precision,
    mean_probability      double precision,
    churn_rate            double precision,
    lift                  double precision,
    capture               double precision,
    precision             double precision,
    recall                double precision,
    promised_auc          double precision,
    promised_error        double precision,
    promised_low          double precision,
    promised_high         double precision,
    verdict               text             NOT NULL,
    reason                text             NOT NULL,
    PRIMARY KEY (as_of, revision, model_version, source, basis, arm, slice),
    FOREIGN KEY (as_of, revision) REFERENCES outcomes.judgements
);
COMMENT ON TABLE outcomes.performance IS 'the scores of a version held against the labels of a date';
COMMENT ON COLUMN outcomes.performance.source IS
    'list: the list of the date; answering: the version that answered when the labels came; api: the prediction log';
COMMENT ON COLUMN outcomes.performance.basis IS 'why the version had not learned from the rows: of which customers or date they are';
COMMENT ON COLUMN outcomes.performance.decides IS 'the one row of the version whose verdict raises or ends an alarm';
COMMENT ON COLUMN outcomes.performance.auc IS 'with its 95 % interval by DeLong; NULL with fewer than two rows in a class';
COMMENT ON COLUMN outcomes.performance.lift IS 'of the top decile of the list: its churn rate over that of all rows';
COMMENT ON COLUMN outcomes.performance.capture IS 'share of the leavers that are in the top decile of the list';
COMMENT ON COLUMN outcomes.performance.promised_auc IS 'the AUC on the gate cohort when the version was trained';

CREATE FUNCTION outcomes.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'outcomes.% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON outcomes.performance
    FOR EACH ROW EXECUTE FUNCTION outcomes.refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON outcomes.performance
    FOR EACH STATEMENT EXECUTE FUNCTION outcomes.refuse_change();

CREATE TABLE outcomes.effects (
    as_of             date             NOT NULL,
    revision          integer          NOT NULL,
    contacted         integer          NOT NULL,
    control_contacted integer          NOT NULL,
    treat_rows        integer          NOT NULL,
    treat_churned     integer          NOT NULL,
    control_rows      integer          NOT NULL,
    control_churned   integer          NOT NULL,
    effect            double precision,
    effect_low        double precision,
    effect_high       double precision,
    PRIMARY KEY (as_of, revision),
    FOREIGN KEY (as_of, revision) REFERENCES outcomes.judgements
);
COMMENT ON TABLE outcomes.effects IS
    'the measured effect of a campaign: churn rate of treat less that of control, in the top decile of the list';
COMMENT ON COLUMN outcomes.effects.contacted IS 'customers of arm treat with an action; the effect is of all of the arm (intention to treat)';
COMMENT ON COLUMN outcomes.effects.control_contacted IS 'customers of arm control with an action: above 0 the campaign did not leave them alone';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON outcomes.effects
    FOR EACH ROW EXECUTE FUNCTION outcomes.refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON outcomes.effects
    FOR EACH STATEMENT EXECUTE FUNCTION outcomes.refuse_change();

CREATE TABLE outcomes.alarms (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_version integer     NOT NULL,
    model_run_id  text        NOT NULL,
    verdict       text        NOT NULL,
    as_of         date        NOT NULL,
    revision      integer     NOT NULL,
    alerted_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE outcomes.alarms IS 'the alerts that were sent: one row for each change of the verdict on a version';

CREATE TABLE outcomes.expected (
    as_of           date             NOT NULL,
    list_revision   integer          NOT NULL,
    basis           text             NOT NULL,
    code_digest     text             NOT NULL,
    model_version   integer          NOT NULL,
    model_run_id    text             NOT NULL,
    calibrated_on   date             NOT NULL,
    rows            integer          NOT NULL,
    auc             double precision,
    auc_low         double precision,
    auc_high        double precision,
    brier           double precision NOT NULL,
    brier_low       double precision NOT NULL,
    brier_high      double precision NOT NULL,
    churn_rate      double precision NOT NULL,
    churn_rate_low  double precision NOT NULL,
    churn_rate_high double precision NOT NULL,
    estimated_at    timestamptz      NOT NULL DEFAULT now(),
    PRIMARY KEY (as_of, list_revision, basis, code_digest)
);
COMMENT ON TABLE outcomes.expected IS 'what a list is expected to achieve before its labels come, with 95 % intervals';
COMMENT ON COLUMN outcomes.expected.calibrated_on IS 'the date of the gate cohort that the scores are calibrated on; before as_of';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON outcomes.expected
    FOR EACH ROW EXECUTE FUNCTION outcomes.refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON outcomes.expected
    FOR EACH STATEMENT EXECUTE FUNCTION outcomes.refuse_change();

CREATE VIEW outcomes.expectations AS
SELECT DISTINCT ON (as_of, basis) expected.*
FROM outcomes.expected
JOIN scores.current_runs AS list ON list.as_of = expected.as_of AND list.revision = expected.list_revision
ORDER BY expected.as_of, expected.basis, expected.estimated_at DESC;
COMMENT ON VIEW outcomes.expectations IS 'what the newest list of each date is expected to achieve';

CREATE VIEW outcomes.current_judgements AS
SELECT DISTINCT ON (as_of) *
FROM outcomes.judgements
WHERE withdrawn_at IS NULL
ORDER BY as_of, known_as_of DESC, revision DESC;
COMMENT ON VIEW outcomes.current_judgements IS 'the newest judgement of each date';

CREATE VIEW outcomes.current AS
SELECT performance.*, judgement.known_as_of, judgement.judged_at
FROM outcomes.performance JOIN outcomes.current_judgements AS judgement USING (as_of, revision);
COMMENT ON VIEW outcomes.current IS 'the figures of the newest judgement of each date';

-- Not of outcomes.current: a later judgement of a date may be of other versions, and the verdict on these stays.
CREATE VIEW outcomes.verdicts AS
SELECT DISTINCT ON (model_version, model_run_id) *
FROM (
    SELECT DISTINCT ON (model_version, model_run_id, as_of)
        performance.*, judgement.known_as_of, judgement.judged_at
    FROM outcomes.performance JOIN outcomes.judgements AS judgement USING (as_of, revision)
    WHERE decides AND withdrawn_at IS NULL
    ORDER BY model_version, model_run_id, as_of, known_as_of DESC, revision DESC
) AS newest
WHERE verdict <> 'too few rows'
ORDER BY model_version, model_run_id, as_of DESC;
COMMENT ON VIEW outcomes.verdicts IS 'the verdict on each version: of the newest date with enough rows';
