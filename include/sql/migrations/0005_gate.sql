CREATE TABLE gate.decisions (
    id                 bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decided_at         timestamptz NOT NULL DEFAULT now(),
    as_of              date        NOT NULL,
    candidate_version  integer     NOT NULL,
    run_id             text        NOT NULL,
    production_version integer,
    graded_on          date        NOT NULL,
    outcome            text        NOT NULL CHECK (outcome IN ('PROMOTE', 'KEEP', 'INVALID')),
    reason             text        NOT NULL,
    candidate_auc      double precision,
    production_auc     double precision,
    report             jsonb       NOT NULL
);
CREATE INDEX ON gate.decisions (as_of, id);

-- Decisions are history: they are added to, never rewritten.
CREATE FUNCTION gate.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'gate.decisions is append-only';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON gate.decisions
    FOR EACH ROW EXECUTE FUNCTION gate.refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON gate.decisions
    FOR EACH STATEMENT EXECUTE FUNCTION gate.refuse_change();
