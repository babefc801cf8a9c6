-- What the gate says with each decision since it gives intervals: standard errors, so that value ± 1.96 error is 95 %.
ALTER TABLE gate.decisions
    ADD COLUMN candidate_auc_error  double precision,
    ADD COLUMN production_auc_error double precision,
    ADD COLUMN auc_difference       double precision,
    ADD COLUMN auc_difference_error double precision,
    ADD COLUMN superior             boolean NOT NULL DEFAULT false,
    ADD COLUMN overridden           jsonb   NOT NULL DEFAULT '{}';
COMMENT ON COLUMN gate.decisions.superior IS 'shown to be better than what is in Production, not only not worse; or the first';
COMMENT ON COLUMN gate.decisions.overridden IS 'thresholds that this run was given in place of the house''s: {name: value}';

-- Every change of stage Production that is known of, in order, and who made it.
CREATE TABLE gate.moves (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    moved_at         timestamptz NOT NULL DEFAULT now(),
    kind             text        NOT NULL CHECK (kind IN ('promotion', 'person', 'rollback', 'release')),
    version          integer,
    previous_version integer,
    who              text        NOT NULL CHECK (who <> ''),
    why              text        NOT NULL CHECK (why <> ''),
    superior         boolean     NOT NULL DEFAULT false
);
COMMENT ON TABLE gate.moves IS 'the history of stage Production; the pin itself is a tag of the registered model in MLflow';
COMMENT ON COLUMN gate.moves.version IS 'what stage Production holds from then on; NULL: nothing';
COMMENT ON COLUMN gate.moves.superior IS 'a promotion of a version shown to be better than what it replaced, or the first one';

INSERT INTO gate.moves (moved_at, kind, version, previous_version, who, why, superior)
SELECT decided_at, 'promotion', candidate_version, production_version, 'gate', reason, production_version IS NULL
FROM gate.decisions
WHERE outcome = 'PROMOTE'
ORDER BY id;

-- Moves are history, like decisions: added to, never rewritten.
CREATE OR REPLACE FUNCTION gate.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'gate.% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON gate.moves
    FOR EACH ROW EXECUTE FUNCTION gate.refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON gate.moves
    FOR EACH STATEMENT EXECUTE FUNCTION gate.refuse_change();
