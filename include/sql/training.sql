-- name: customers
SELECT as_of, (rows ->> 'subscriptions_profile_snapshots')::integer
FROM snapshots.builds
WHERE as_of = ANY (%(dates)s)

-- name: drops
-- Each drop up to an AS_OF, and the dates for which it delivers labels; of these, the ones that it makes a labelled date.
-- The caller chooses dates from them. A single statement, so all are of one state of the database.
SELECT
    l.as_of,
    l.drop_digest,
    l.expired_at IS NOT NULL AS is_expired,
    l.label_dates,
    -- A drop delivers labels of its own and of earlier dates, whose customers may have left. A date counts as labelled if
    -- at least one labelled customer is in its snapshot.
    ARRAY(
        SELECT f.as_of
        FROM unnest(l.label_dates) AS delivered (as_of)
        JOIN snapshots.builds f ON f.as_of = delivered.as_of
        LEFT JOIN LATERAL (
            SELECT true AS is_labelled
            FROM snapshots.labels_snapshots label
            JOIN snapshots.subscriptions_profile_snapshots s
                ON s.user_id = label.user_id AND s.event_timestamp = (f.as_of + 1)::timestamp AT TIME ZONE 'UTC'
            WHERE label.drop_as_of = l.as_of AND label.as_of = f.as_of
            LIMIT 1
        ) AS known ON true
        -- Dates that retention deleted count as labelled, so that the caller notices.
        WHERE known.is_labelled OR f.expired_at IS NOT NULL OR l.expired_at IS NOT NULL
    ) AS labelled
FROM snapshots.builds l
WHERE l.as_of <= %(newest)s
ORDER BY l.as_of

-- name: entities
SELECT DISTINCT ON (l.user_id) l.user_id, l.churn_label, {event_timestamp}::timestamptz AS event_timestamp
FROM snapshots.labels_snapshots l
JOIN snapshots.subscriptions_profile_snapshots s
    ON s.user_id = l.user_id AND s.event_timestamp = {event_timestamp}::timestamptz
WHERE l.as_of = {labelled}::date AND l.drop_as_of BETWEEN {labelled}::date AND {as_of}::date
  AND {in_sample}
ORDER BY l.user_id, l.drop_as_of DESC

-- name: in_sample
-- The same rule as in cohort.py: the first bytes of the hash, held against the bounds of the sample, which begin and end
-- it in turns.
mod(width_bucket(substring(sha256(convert_to({salt} || ':' || {user_id}, 'UTF8')) FOR 8), {bounds}::bytea[]), 2) = 1

-- name: other_labels
-- The spans of drops, first included and last excluded, at which some customer of the date in the sample had another
-- label than at the AS_OF, or none yet (no first).
WITH delivered AS (
    SELECT
        l.drop_as_of,
        lag(l.drop_as_of) OVER history IS NULL AS is_first,
        lead(l.drop_as_of) OVER history AS next_drop,
        l.churn_label <> first_value(l.churn_label) OVER (PARTITION BY l.user_id, l.as_of ORDER BY l.drop_as_of DESC)
            AS is_other
    FROM snapshots.labels_snapshots l
    JOIN snapshots.subscriptions_profile_snapshots s
        ON s.user_id = l.user_id AND s.event_timestamp = %(event_timestamp)s
    WHERE l.as_of = %(labelled)s AND l.drop_as_of BETWEEN %(labelled)s AND %(as_of)s AND {in_sample}
    WINDOW history AS (PARTITION BY l.user_id, l.as_of ORDER BY l.drop_as_of)
)
SELECT DISTINCT drop_as_of AS begins, next_drop AS ends FROM delivered WHERE is_other
UNION
SELECT NULL, drop_as_of FROM delivered WHERE is_first
