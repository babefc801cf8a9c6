-- Customers of the other files that the users file does not have. A label of an earlier date may speak of one who is gone.
WITH orphans AS (
    SELECT file, line, user_id FROM drop_customers o
    WHERE file <> %(users)s AND as_of = %(as_of)s
      AND NOT EXISTS (SELECT FROM drop_customers u WHERE u.file = %(users)s AND u.user_id = o.user_id)
),
numbered AS (
    SELECT *, row_number() OVER (PARTITION BY file ORDER BY line) AS n FROM orphans
)
SELECT file, line, user_id, 1 AS count FROM numbered WHERE n <= %(shown)s
UNION ALL
SELECT file, NULL, NULL, count(*) FROM numbered WHERE n > %(shown)s GROUP BY file
ORDER BY file, line NULLS LAST
