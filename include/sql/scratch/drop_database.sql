-- FORCE: the feature store may still hold a connection.
DROP DATABASE IF EXISTS {database} WITH (FORCE)
