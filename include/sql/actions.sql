-- name: are_known
-- No drop delivers actions of a later date.
SELECT EXISTS (
    SELECT FROM snapshots.actions_snapshots
    WHERE as_of = %(as_of)s AND drop_as_of BETWEEN %(as_of)s AND %(known_as_of)s
)

-- name: contacted
-- The customers with an action of a date, as known at a date: the union over the drops up to it.
SELECT user_id, array_agg(DISTINCT action ORDER BY action) AS actions
FROM snapshots.actions_snapshots
WHERE as_of = %(as_of)s AND drop_as_of BETWEEN %(as_of)s AND %(known_as_of)s
GROUP BY user_id
ORDER BY user_id

-- name: counts
-- Counts per date of a drop's actions. Its own date has no snapshot yet: validate compared it with the users file.
SELECT
    came.action_as_of,
    count(*) AS came,
    count(customer.user_id) AS matched,
    EXISTS (SELECT FROM snapshots.builds b WHERE b.as_of = came.action_as_of AND b.expired_at IS NULL) AS has_snapshot
FROM raw.actions came
LEFT JOIN (
    -- Bound instants let the planner prune partitions.
    SELECT user_id, as_of FROM snapshots.subscriptions_profile_snapshots WHERE event_timestamp = ANY(%(known_from)s)
) customer ON customer.user_id = came.user_id AND customer.as_of = came.action_as_of
WHERE came.as_of = %(as_of)s
GROUP BY came.action_as_of
ORDER BY came.action_as_of

-- name: dates
SELECT DISTINCT action_as_of FROM raw.actions WHERE as_of = %(as_of)s ORDER BY action_as_of

-- name: matched
-- The actions that later drops brought for a date, and how many of them are of its customers.
SELECT count(*) AS came, count(customer.user_id) AS matched
FROM snapshots.actions_snapshots action
LEFT JOIN snapshots.subscriptions_profile_snapshots customer
    ON customer.user_id = action.user_id AND customer.event_timestamp = %(event_timestamp)s
WHERE action.as_of = %(as_of)s AND action.drop_as_of > %(as_of)s
