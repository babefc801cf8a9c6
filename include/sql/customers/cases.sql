-- Ids that differ by case alone from one that comes before, in the users file or the same one; then how many more there are.
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
    WINDOW w AS (PARTITION BY folded ORDER BY file <> %(users)s, line)
),
numbered AS (
    SELECT *, row_number() OVER (PARTITION BY file ORDER BY line) AS n FROM compared WHERE user_id <> other_id
)
SELECT file, line, user_id, 1 AS count, other_file, other_line, other_id FROM numbered WHERE n <= %(shown)s
UNION ALL
SELECT file, NULL, NULL, count(*), NULL, NULL, NULL FROM numbered WHERE n > %(shown)s GROUP BY file
ORDER BY file, line NULLS LAST
