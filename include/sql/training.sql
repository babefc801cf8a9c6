-- name: drops
-- The drops of each AS_OF's training set: those of its labelled dates, which give the features, and those up to the AS_OF
-- that delivered labels for these dates. A single statement, so all are of one state of the database.
WITH labelled AS (
    -- A drop delivers labels of its own and of earlier dates, whose customers may have left. A date counts as labelled if
    -- at least one labelled customer is in its snapshot.
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
    -- Dates that retention deleted count as labelled, so that the caller notices.
    WHERE known.is_labelled OR f.expired_at IS NOT NULL OR l.expired_at IS NOT NULL
    GROUP BY f.as_of
),
-- MATERIALIZED: compute the dates once, not once per drop.
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
    -- The last date is the oldest. Earlier drops deliver no labels for any of the dates.
    ON b.as_of BETWEEN trained.dates[cardinality(trained.dates)] AND trained.as_of
   AND (b.as_of = ANY (trained.dates) OR b.label_dates && trained.dates)
ORDER BY trained.as_of, b.as_of

-- name: entities
SELECT DISTINCT ON (l.user_id) l.user_id, l.churn_label, {event_timestamp}::timestamptz AS event_timestamp
FROM snapshots.labels_snapshots l
JOIN snapshots.subscriptions_profile_snapshots s
    ON s.user_id = l.user_id AND s.event_timestamp = {event_timestamp}::timestamptz
WHERE l.as_of = {labelled}::date AND l.drop_as_of BETWEEN {labelled}::date AND {as_of}::date
  -- The same rule as in cohort.py: the first bytes of the hash as a number in [0, 1).
  AND ({everybody} OR substring(sha256(convert_to({salt} || ':' || l.user_id, 'UTF8')) FOR 8) < {below}::bytea)
ORDER BY l.user_id, l.drop_as_of DESC
