-- name: analyze
ANALYZE {table}

-- name: attach
SELECT churn_attach_month(%(table)s, %(day)s)

-- name: month
SELECT partition_schema, partition_name, is_new FROM churn_month(%(table)s, %(day)s)

-- name: copy
COPY {table} ({columns}) FROM STDIN (FORMAT csv)
