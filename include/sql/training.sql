-- name: drops
-- The drops that the training set of each AS_OF is made of: those of its labelled dates, which give the features, and
-- those up to the AS_OF that delivered labels for them. One statement, so that both are of the same moment.
WITH labelled AS (
    -- A drop delivers labels of its own date and of earlier ones, from which customers may be gone: what makes a date
    -- labelled is one labelled customer who has a snapshot of it.
    SELECT f.as_of, min(l.as_of) AS since
    FROM snapshots.builds l
    CROSS JOIN unnest(l.label_dates) AS delivered (as_of)
    JOIN snapshots.builds f ON f.as_of = delivered.as_of
    LEFT JOIN LATERAL (
        SELECT true AS is_labelled
        FROM snapshots.labels_snapshots label
        JOIN snapshots.subscriptions_profile_snapshots s
            ON s.user_id = label.user_id AND s.event_timestamp = (f.as_of + 1)::timestamp AT TIME ZONE 'UTC'
        WHERE label.drop_as_of = l.as_of AND label.as_of = f.as_of
        LIMIT 1
    ) AS known ON true
    -- Of what retention removed, the rows cannot be asked. It counts, so that a set is told from one without it.
    WHERE known.is_labelled OR f.expired_at IS NOT NULL OR l.expired_at IS NOT NULL
    GROUP BY f.as_of
),
-- MATERIALIZED: each window is worked out once, not again for each drop that is held against it.
trained AS MATERIALIZED (
    SELECT
        asked.as_of,
        ARRAY(
            SELECT labelled.as_of
            FROM labelled
            WHERE labelled.since <= asked.as_of
            ORDER BY labelled.as_of DESC
            LIMIT %(limit)s
        ) AS dates
    FROM unnest(%(as_ofs)s::date[]) AS asked (as_of)
)
SELECT
    trained.as_of,
    b.as_of AS drop_as_of,
    b.drop_digest,
    b.as_of = ANY (trained.dates) AS is_labelled,
    b.expired_at IS NOT NULL AS is_expired
FROM trained
JOIN snapshots.builds b
    -- The last of the dates is the oldest, and no drop before it delivers labels for any of them.
    ON b.as_of BETWEEN trained.dates[cardinality(trained.dates)] AND trained.as_of
   AND (b.as_of = ANY (trained.dates) OR b.label_dates && trained.dates)
ORDER BY trained.as_of, b.as_of

-- name: entities
SELECT DISTINCT ON (l.user_id) l.user_id, l.churn_label, {event_timestamp}::timestamptz AS event_timestamp
FROM snapshots.labels_snapshots l
JOIN snapshots.subscriptions_profile_snapshots s
    ON s.user_id = l.user_id AND s.event_timestamp = {event_timestamp}::timestamptz
WHERE l.as_of = {labelled}::date AND l.drop_as_of BETWEEN {labelled}::date AND {as_of}::date
  -- What cohort.py says of a customer, said to the database: the hash's first bytes as a number in [0, 1).
  AND ({everybody} OR substring(sha256(convert_to({salt} || ':' || l.user_id, 'UTF8')) FOR 8) < {below}::bytea)
ORDER BY l.user_id, l.drop_as_of DESC
