-- Customers of the users file whom another required file does not have; a missing row has no line.
WITH missing AS (
    SELECT f.file, u.user_id, row_number() OVER (PARTITION BY f.file ORDER BY u.line) AS n
    FROM drop_customers u CROSS JOIN unnest(%(files)s::text[]) AS f (file)
    WHERE u.file = %(users)s AND f.file <> %(users)s
      AND NOT EXISTS (SELECT FROM drop_customers o WHERE o.file = f.file AND o.user_id = u.user_id)
)
SELECT file, NULL::bigint AS line, user_id, 1 AS count FROM missing WHERE n <= %(shown)s
UNION ALL
SELECT file, NULL, NULL, count(*) FROM missing WHERE n > %(shown)s GROUP BY file
