-- name: began
-- The flagged rows of columns that are news: not flagged at the AS_OF before, in the days before, or in an earlier
-- revision.
SELECT found.*
FROM drift.current found
WHERE found.as_of = %(as_of)s AND found.flagged
  AND NOT EXISTS (
    SELECT FROM drift.current earlier
    WHERE earlier.flagged AND earlier.column_name = found.column_name AND earlier.as_of < found.as_of
      AND earlier.as_of >= least(
        found.as_of - %(days)s::integer,
        (SELECT max(before.as_of) FROM drift.current before WHERE before.as_of < found.as_of)
      )
  )
  AND NOT EXISTS (
    SELECT FROM drift.columns told
    WHERE told.flagged AND told.column_name = found.column_name AND told.as_of = found.as_of
      AND told.revision < found.revision
  )
ORDER BY found.column_name, found.reference

-- name: compared
-- The newest AS_OF that was compared.
SELECT max(as_of) FROM drift.current

-- name: drifted_columns
SELECT reference, columns FROM drift.drifted_columns

-- name: drifted_now
SELECT * FROM drift.current
WHERE flagged AND as_of = (SELECT max(as_of) FROM drift.current)
ORDER BY column_name, reference

-- name: earlier
-- The newest earlier snapshot of the same weekday, if it is recent; else the newest earlier one.
SELECT
    as_of, digest, rows,
    (%(as_of)s::date - as_of) %% 7 = 0 AND %(as_of)s::date - as_of <= %(within)s AS is_same_weekday
FROM scores.snapshots
WHERE as_of < %(as_of)s
ORDER BY is_same_weekday DESC, as_of DESC
LIMIT 1

-- name: entities
SELECT user_id, event_timestamp
FROM snapshots.subscriptions_profile_snapshots
WHERE event_timestamp = {event_timestamp}::timestamptz
  AND substring(sha256(convert_to({salt} || ':' || user_id, 'UTF8')) FOR 8) < {below}::bytea

-- name: findings
SELECT * FROM drift.current WHERE as_of = %(as_of)s ORDER BY flagged DESC, column_name, reference

-- name: freeze
INSERT INTO drift.version_references (model_version, model_run_id, learned_from, profiles)
VALUES (%(model_version)s, %(model_run_id)s, %(learned_from)s, %(profiles)s)
ON CONFLICT DO NOTHING

-- name: labelled_entities
SELECT customer.user_id, customer.event_timestamp
FROM snapshots.subscriptions_profile_snapshots customer
WHERE customer.event_timestamp = {event_timestamp}::timestamptz
  AND substring(sha256(convert_to({salt} || ':' || customer.user_id, 'UTF8')) FOR 8) < {below}::bytea
  AND EXISTS (
    SELECT FROM snapshots.labels_snapshots label
    WHERE label.user_id = customer.user_id AND label.as_of = {labelled}::date
      AND label.drop_as_of BETWEEN {labelled}::date AND {known}::date
  )

-- name: newest
SELECT revision, inputs_digest FROM drift.columns WHERE as_of = %(as_of)s ORDER BY revision DESC LIMIT 1

-- name: record
INSERT INTO drift.columns (
    as_of, revision, model_version, model_run_id, reference, reference_as_of, column_name, rows, reference_rows, finding,
    flagged, effect, effect_limit, test, statistic, p_value, detail, distribution, inputs_digest
)
VALUES (
    %(as_of)s, %(revision)s, %(model_version)s, %(model_run_id)s, %(reference)s, %(reference_as_of)s, %(column_name)s,
    %(rows)s, %(reference_rows)s, %(finding)s, %(flagged)s, %(effect)s, %(effect_limit)s, %(test)s, %(statistic)s,
    %(p_value)s, %(detail)s, %(distribution)s, %(inputs_digest)s
)

-- name: scores
SELECT churn_probability
FROM scores.customers
WHERE as_of = %(as_of)s AND revision = %(revision)s
  AND substring(sha256(convert_to(%(cohort_salt)s || ':' || user_id, 'UTF8')) FOR 8) < %(cohorts_below)s
  AND substring(sha256(convert_to(%(salt)s || ':' || user_id, 'UTF8')) FOR 8) < %(below)s

-- name: snapshot
SELECT digest, rows FROM scores.snapshots WHERE as_of = %(as_of)s

-- name: trained_on
SELECT as_of, drop_digest, expired_at IS NOT NULL, (rows ->> 'subscriptions_profile_snapshots')::integer
FROM snapshots.builds
WHERE as_of = ANY (%(dates)s)

-- name: version_reference
SELECT profiles
FROM drift.version_references
WHERE model_version = %(model_version)s AND model_run_id = %(model_run_id)s
