CREATE SCHEMA predictions;
COMMENT ON SCHEMA predictions IS 'what was said of customers, kept until it can be compared with what they did';

-- By month, so that old ones are dropped as a whole, and that the index of a customer's answers, into which rows come in
-- no order, stays small. Who appends may not make tables: the months are made ahead, by the DAG churn_retention.
CREATE TABLE predictions.answered (
    answered_at       timestamptz      NOT NULL,
    request_id        text             NOT NULL,
    user_id           text             NOT NULL,
    churn_probability double precision NOT NULL,
    prediction        smallint         NOT NULL CHECK (prediction IN (0, 1)),
    threshold         double precision NOT NULL,
    model_version     integer          NOT NULL,
    features_as_of    date             NOT NULL,
    features          jsonb            NOT NULL
) PARTITION BY RANGE (answered_at);
CREATE INDEX ON predictions.answered (user_id, answered_at);
COMMENT ON TABLE predictions.answered IS
    'the prediction log: every answer of the serving API, to be joined with the labels that arrive later (user_id, and '
    'features_as_of = as_of). Appended to in batches; one that was cut off may be there twice, with equal rows';
COMMENT ON COLUMN predictions.answered.answered_at IS 'when it was answered, by the clock of the service';
COMMENT ON COLUMN predictions.answered.request_id IS 'as in the answer''s header X-Request-ID and in the service''s logs; a batch has one';
COMMENT ON COLUMN predictions.answered.churn_probability IS
    'that the customer leaves in the period that starts at features_as_of: the label of (user_id, features_as_of) is the truth';
COMMENT ON COLUMN predictions.answered.prediction IS '1 where churn_probability >= threshold, that of the model version then';
COMMENT ON COLUMN predictions.answered.model_version IS 'the version of streamflow_churn in MLflow that answered';
COMMENT ON COLUMN predictions.answered.features_as_of IS 'the AS_OF of the features';
COMMENT ON COLUMN predictions.answered.features IS '{feature: value}, all that the model saw; null is one that the customer legitimately lacks';

CREATE TABLE predictions.answered_any_month PARTITION OF predictions.answered DEFAULT;
COMMENT ON TABLE predictions.answered_any_month IS
    'answers of months that nobody had made; empty unless churn_retention was off for months';

SELECT churn_attach_month('predictions.answered', day::date)
FROM generate_series(date_trunc('month', now()), now() + interval '2 months', interval '1 month') AS day;
