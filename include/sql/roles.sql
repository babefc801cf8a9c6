-- name: admit
GRANT CONNECT ON DATABASE {database} TO {role}

-- name: close_database
-- By default every role may connect to every database and create temporary tables there. The owner keeps both rights.
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
-- The verifier is a SCRAM hash, so the server never logs the password.
ALTER ROLE {role} PASSWORD {verifier}
