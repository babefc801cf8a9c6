-- name: count_other_answers
SELECT count(*) FROM predictions.answered_any_month WHERE answered_at < %(limit)s

-- name: delete
DELETE FROM {table} WHERE {column} = %(value)s

-- name: delete_other_answers
DELETE FROM predictions.answered_any_month WHERE answered_at < %(limit)s

-- name: drop_month
DROP TABLE IF EXISTS {month}

-- name: drop_scores
DROP TABLE IF EXISTS {table}

-- name: expired_drops
-- Except drops that were validated recently: their chain may still build snapshots.
SELECT as_of FROM raw.drops
WHERE expired_at IS NULL AND as_of < %(before)s AND validated_at < now() - interval '2 days'
ORDER BY as_of

-- name: expired_months
SELECT relname, pg_total_relation_size(c.oid)
FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
WHERE inhparent = 'predictions.answered'::regclass
  AND to_timestamp(substring(relname FROM '_([0-9]+_[0-9]+)$'), 'YYYY_MM') + interval '1 month' <= %(limit)s
ORDER BY relname

-- name: expired_runs
SELECT * FROM scores.runs WHERE expired_at IS NOT NULL

-- name: expired_scores
-- Except the newest list, and dates that were scored recently: somebody has just asked for them.
SELECT as_of
FROM scores.runs
WHERE as_of < %(before)s AND as_of IS DISTINCT FROM (SELECT max(as_of) FROM scores.current_runs)
GROUP BY as_of
HAVING bool_or(expired_at IS NULL) AND max(scored_at) < now() - interval '2 days'
ORDER BY as_of

-- name: expired_snapshots
-- Except snapshots that were built or validated again recently: their chain may still materialize or train.
SELECT as_of
FROM snapshots.builds b
JOIN raw.drops d USING (as_of)
WHERE b.expired_at IS NULL AND as_of < %(before)s AND greatest(b.built_at, d.validated_at) < now() - interval '2 days'
ORDER BY as_of

-- name: limit
SELECT now() - make_interval(days => %(days)s)

-- name: make_months
-- This month and the next two. A month that already has rows in answered_any_month gets no partition.
SELECT churn_attach_month('predictions.answered', day::date)
FROM generate_series(date_trunc('month', now()), now() + interval '2 months', interval '1 month') AS day
WHERE to_regclass('predictions.answered' || to_char(day, '_YYYY_MM')) IS NULL
  AND NOT EXISTS (
      SELECT FROM predictions.answered_any_month WHERE answered_at >= day AND answered_at < day + interval '1 month'
  )

-- name: mark_drop
UPDATE raw.revisions SET expired_at = now()
WHERE as_of = %(as_of)s AND revision = (SELECT revision FROM raw.drops WHERE as_of = %(as_of)s)

-- name: mark_scores
UPDATE scores.runs SET expired_at = now() WHERE as_of = %(as_of)s AND revision = %(revision)s

-- name: mark_snapshot
UPDATE snapshots.builds SET expired_at = now() WHERE as_of = %(as_of)s

-- name: measure
SELECT count(*), coalesce(sum(pg_column_size(t.*)), 0)::bigint FROM {table} t WHERE {column} = %(value)s

-- name: newest
-- The newest AS_OF of a drop, and of a snapshot.
SELECT (SELECT max(as_of) FROM raw.drops), (SELECT max(as_of) FROM snapshots.builds)

-- name: size_of_scores
SELECT pg_total_relation_size(to_regclass(%(table)s))

-- name: today
SELECT (now() AT TIME ZONE 'UTC')::date
