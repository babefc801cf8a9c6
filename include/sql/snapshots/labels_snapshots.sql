INSERT INTO {table} (user_id, as_of, drop_as_of, churn_label)
SELECT user_id, label_as_of, as_of, churn_label
FROM raw.labels
WHERE as_of = %(drop_as_of)s
ORDER BY label_as_of, user_id
