-- name: analyze
ANALYZE drop_customers

-- name: cases
-- Ids that differ by case alone from an earlier one, or from one of the users file; then the number of further ones.
WITH ids AS (
    SELECT file, min(line) AS line, user_id, folded
    FROM drop_customers
    WHERE folded IS NOT NULL
    GROUP BY file, user_id, folded
),
compared AS (
    SELECT *, first_value(file) OVER w AS other_file, first_value(line) OVER w AS other_line,
        first_value(user_id) OVER w AS other_id
    FROM ids
    WINDOW w AS (PARTITION BY folded ORDER BY file <> %(users)s, line, file)
),
numbered AS (
    SELECT *, row_number() OVER (PARTITION BY file ORDER BY line) AS n FROM compared WHERE user_id <> other_id
)
SELECT file, line, user_id, 1 AS count, other_file, other_line, other_id FROM numbered WHERE n <= %(shown)s
UNION ALL
SELECT file, NULL, NULL, count(*), NULL, NULL, NULL FROM numbered WHERE n > %(shown)s GROUP BY file
ORDER BY file, line NULLS LAST

-- name: create_table
CREATE TEMPORARY TABLE drop_customers (
    file    text   NOT NULL,
    line    bigint NOT NULL,
    user_id text   NOT NULL,
    as_of   date   NOT NULL,
    action  text,
    folded  text
) ON COMMIT DROP

-- name: duplicates
-- The first duplicate customers of each file; then the number of further ones, with a NULL user_id.
WITH repeated AS (
    SELECT file, max(line) AS line, user_id
    FROM drop_customers
    GROUP BY file, user_id, as_of, action
    HAVING count(*) > 1
),
numbered AS (
    SELECT *, row_number() OVER (PARTITION BY file ORDER BY line) AS n FROM repeated
)
SELECT file, line, user_id, 1 AS count FROM numbered WHERE n <= %(shown)s
UNION ALL
SELECT file, NULL, NULL, count(*) FROM numbered WHERE n > %(shown)s GROUP BY file
ORDER BY file, line NULLS LAST

-- name: missing
-- Customers of the users file that are missing from another required file; a missing row has no line.
WITH missing AS (
    SELECT f.file, u.user_id, row_number() OVER (PARTITION BY f.file ORDER BY u.line) AS n
    FROM drop_customers u CROSS JOIN unnest(%(files)s::text[]) AS f (file)
    WHERE u.file = %(users)s AND f.file <> %(users)s
      AND NOT EXISTS (SELECT FROM drop_customers o WHERE o.file = f.file AND o.user_id = u.user_id)
)
SELECT file, NULL::bigint AS line, user_id, 1 AS count FROM missing WHERE n <= %(shown)s
UNION ALL
SELECT file, NULL, NULL, count(*) FROM missing WHERE n > %(shown)s GROUP BY file

-- name: orphans
-- Customers that are missing from the users file. A label or action of an earlier date may be of one who has left.
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
