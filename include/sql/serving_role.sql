-- The role of the serving API: it reads the online features, Feast's registry and the hashes of the models that may be
-- loaded, appends to the prediction log, and may nothing else. Migrations run this file. Where their user may not create roles, an administrator does:
--     CREATE ROLE churn_serving LOGIN PASSWORD '...'
-- and the owner of the database, or the administrator, runs this file with psql; any number of times does no harm.
-- Made here, the role has no password: where the server asks for one, nobody is let in before it is set.
DO $$
DECLARE
    pipeline text := quote_ident(pg_get_userbyid((SELECT nspowner FROM pg_namespace WHERE nspname = 'online')));
BEGIN
    IF to_regrole('churn_serving') IS NULL THEN
        BEGIN
            CREATE ROLE churn_serving LOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL; -- Another database of this server was migrated at the same moment.
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'no role churn_serving: this user may not create roles; see include/sql/serving_role.sql';
                RETURN;
        END;
    END IF;
    GRANT USAGE ON SCHEMA online, feast, predictions, registry TO churn_serving;
    GRANT SELECT ON ALL TABLES IN SCHEMA online, feast TO churn_serving;
    -- And on those that are made later: Feast makes the registry and the views' tables, each materialization its own.
    EXECUTE 'ALTER DEFAULT PRIVILEGES FOR ROLE ' || pipeline
        || ' IN SCHEMA online, feast GRANT SELECT ON TABLES TO churn_serving';
    GRANT SELECT ON registry.trusted_files TO churn_serving;
    GRANT INSERT ON predictions.answered TO churn_serving;
    -- By Postgres' default everybody may make temporary tables, as large as the disk. Owners keep the right.
    EXECUTE 'REVOKE TEMPORARY ON DATABASE ' || quote_ident(current_database()) || ' FROM PUBLIC';
END $$;
