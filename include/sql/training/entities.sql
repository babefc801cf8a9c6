SELECT DISTINCT ON (l.user_id) l.user_id, l.churn_label, {event_timestamp}::timestamptz AS event_timestamp
FROM snapshots.labels_snapshots l
JOIN snapshots.subscriptions_profile_snapshots s
    ON s.user_id = l.user_id AND s.event_timestamp = {event_timestamp}::timestamptz
WHERE l.as_of = {labelled}::date AND l.drop_as_of BETWEEN {labelled}::date AND {as_of}::date
  -- What cohort.py says of a customer, said to the database: the hash's first bytes as a number in [0, 1).
  AND ({everybody} OR substring(sha256(convert_to({salt} || ':' || l.user_id, 'UTF8')) FOR 8) < {below}::bytea)
ORDER BY l.user_id, l.drop_as_of DESC
