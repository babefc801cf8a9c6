-- name: counts
-- Counts per labelled date of a drop. Its own date has no snapshot yet: validate compared it with the users file.
SELECT
    came.label_as_of,
    count(*) AS came,
    count(customer.user_id) AS matched,
    count(*) FILTER (WHERE known.churn_label <> came.churn_label) AS changed,
    EXISTS (SELECT FROM snapshots.builds b WHERE b.as_of = came.label_as_of AND b.expired_at IS NULL) AS has_snapshot
FROM raw.labels came
LEFT JOIN (
    -- Bound instants let the planner prune partitions.
    SELECT user_id, as_of FROM snapshots.subscriptions_profile_snapshots WHERE event_timestamp = ANY(%(known_from)s)
) customer ON customer.user_id = came.user_id AND customer.as_of = came.label_as_of
LEFT JOIN (
    SELECT DISTINCT ON (user_id, as_of) user_id, as_of, churn_label
    FROM snapshots.labels_snapshots
    -- No drop delivers labels of a later date.
    WHERE as_of = ANY(%(dates)s) AND drop_as_of >= %(first)s AND drop_as_of < %(as_of)s
    ORDER BY user_id, as_of, drop_as_of DESC
) known ON known.user_id = came.user_id AND known.as_of = came.label_as_of
WHERE came.as_of = %(as_of)s
GROUP BY came.label_as_of
ORDER BY came.label_as_of

-- name: matched
-- The labels that later drops brought for a date, and how many of its customers they match.
SELECT count(*) AS came, count(customer.user_id) AS matched
FROM snapshots.labels_snapshots label
LEFT JOIN snapshots.subscriptions_profile_snapshots customer
    ON customer.user_id = label.user_id AND customer.event_timestamp = %(event_timestamp)s
WHERE label.as_of = %(as_of)s AND label.drop_as_of > %(as_of)s

-- name: dates
SELECT DISTINCT label_as_of FROM raw.labels WHERE as_of = %(as_of)s ORDER BY label_as_of
