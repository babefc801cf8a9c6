CREATE SCHEMA raw;
CREATE SCHEMA snapshots;
CREATE SCHEMA online;
CREATE SCHEMA feast;
CREATE SCHEMA gate;

-- Feast's own connections set no time zone; with another than UTC its results shift by a day, silently.
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET timezone TO %L', current_database(), 'UTC');
END $$;

-- The partition of `parent` that holds the month of `day`; the bounds are months (UTC) of the parent's partition column, a
-- date or a timestamptz. A month that is missing is made as a table of its own, without indexes: `is_new`. Fill it, then
-- attach it: its indexes are built once, from all of its rows, and until then nobody waits for it.
CREATE FUNCTION public.churn_month(parent regclass, day date, OUT partition_schema text, OUT partition_name text, OUT is_new boolean)
LANGUAGE plpgsql AS $$
DECLARE
    partition text;
BEGIN
    SELECT nspname, relname || to_char(day, '_YYYY_MM') INTO partition_schema, partition_name
    FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE pg_class.oid = parent;
    partition := format('%I.%I', partition_schema, partition_name);
    is_new := false;
    IF to_regclass(partition) IS NULL THEN
        -- Of two that find it missing one makes it; the other waits for that one's end and looks again. An advisory lock
        -- would not do: waiting for it does not bring in what the other one changed in the catalog.
        EXECUTE format('LOCK TABLE ONLY %s IN SHARE UPDATE EXCLUSIVE MODE', parent);
        is_new := to_regclass(partition) IS NULL;
    END IF;
    IF is_new THEN
        EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition, parent);
    END IF;
END $$;

-- Attaches what churn_month() made. Unlike CREATE … PARTITION OF, that does not wait for readers of the parent.
CREATE FUNCTION public.churn_attach_month(parent regclass, day date) RETURNS void LANGUAGE plpgsql
SET timezone = 'UTC' AS $$
DECLARE
    first date := date_trunc('month', day)::date;
    month record := churn_month(parent, day);
BEGIN
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)',
                   parent, month.partition_schema, month.partition_name, first, (first + interval '1 month')::date);
END $$;
