-- name: admit
GRANT CONNECT ON DATABASE {database} TO {role}

-- name: close_database
-- By Postgres' default everybody may connect to every database and make temporary tables there. The owner keeps both.
REVOKE ALL ON DATABASE {database} FROM PUBLIC

-- name: create
CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION

-- name: create_database
CREATE DATABASE {database} OWNER {role}

-- name: database_exists
SELECT 1 FROM pg_database WHERE datname = %(database)s

-- name: exists
SELECT 1 FROM pg_roles WHERE rolname = %(role)s

-- name: set_password
-- {verifier} is what SCRAM makes of the password: no log of the server ever has the password itself.
ALTER ROLE {role} PASSWORD {verifier}
