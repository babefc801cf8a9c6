-- name: create_database
CREATE DATABASE {database}

-- name: databases
SELECT datname FROM pg_database WHERE starts_with(datname, %(prefix)s)

-- name: drop_database
-- FORCE: the feature store may still be connected.
DROP DATABASE IF EXISTS {database} WITH (FORCE)
