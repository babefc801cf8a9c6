-- The files of model versions that may be loaded. Training records what it saved; a person records a version that was
-- registered by hand (make trust); python -m churn.registry.trust records versions that are older than this table.
CREATE SCHEMA registry;
CREATE TABLE registry.trusted_files (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    file        text        NOT NULL CHECK (file IN ('model.skops', 'MLmodel')),
    sha256      text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    run_id      text        NOT NULL,
    version     integer,
    who         text        NOT NULL CHECK (who <> ''),
    why         text        NOT NULL CHECK (why <> '')
);
CREATE INDEX ON registry.trusted_files (sha256);
COMMENT ON COLUMN registry.trusted_files.run_id IS 'the run that the files are of, empty: none';
COMMENT ON COLUMN registry.trusted_files.version IS
    'the version that a person trusted; NULL: recorded by training, before the version has a number';

CREATE FUNCTION registry.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'registry.% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON registry.trusted_files
    FOR EACH ROW EXECUTE FUNCTION registry.refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON registry.trusted_files
    FOR EACH STATEMENT EXECUTE FUNCTION registry.refuse_change();
