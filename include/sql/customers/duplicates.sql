-- The first repeated customers of each file, then how many more there are, with a NULL user_id.
WITH repeated AS (
    SELECT file, max(line) AS line, user_id
    FROM drop_customers
    GROUP BY file, user_id, as_of
    HAVING count(*) > 1
),
numbered AS (
    SELECT *, row_number() OVER (PARTITION BY file ORDER BY line) AS n FROM repeated
)
SELECT file, line, user_id, 1 AS count FROM numbered WHERE n <= %(shown)s
UNION ALL
SELECT file, NULL, NULL, count(*) FROM numbered WHERE n > %(shown)s GROUP BY file
ORDER BY file, line NULLS LAST
