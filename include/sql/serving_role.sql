-- The role of the serving API. It may read the online features, Feast's registry, the hashes of model files, the verdicts
-- on versions and how many columns drifted, and append to the prediction log. Migrations run this file. If their user may
-- not create roles, an administrator creates it:
--     CREATE ROLE churn_serving LOGIN PASSWORD '...'
-- and then runs this file with psql, as may the owner of the database. It is idempotent.
-- A role created here has no password: where the server asks for one, nobody can log in before it is set.
DO $$
DECLARE
    pipeline text := quote_ident(pg_get_userbyid((SELECT nspowner FROM pg_namespace WHERE nspname = 'online')));
BEGIN
    IF to_regrole('churn_serving') IS NULL THEN
        BEGIN
            CREATE ROLE churn_serving LOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- A concurrent migration of another database created it.
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'no role churn_serving: this user may not create roles; see include/sql/serving_role.sql';
                RETURN;
        END;
    END IF;
    GRANT USAGE ON SCHEMA online, feast, predictions, registry, outcomes, drift TO churn_serving;
    GRANT SELECT ON ALL TABLES IN SCHEMA online, feast TO churn_serving;
    -- And on future tables: Feast creates the registry and the views' tables, each materialization its own.
    EXECUTE 'ALTER DEFAULT PRIVILEGES FOR ROLE ' || pipeline
        || ' IN SCHEMA online, feast GRANT SELECT ON TABLES TO churn_serving';
    GRANT SELECT ON registry.trusted_files, outcomes.verdicts, drift.drifted_columns TO churn_serving;
    GRANT INSERT ON predictions.answered TO churn_serving;
    -- By default every role may create temporary tables of any size. Owners keep the right.
    EXECUTE 'REVOKE TEMPORARY ON DATABASE ' || quote_ident(current_database()) || ' FROM PUBLIC';
END $$;
