-- name: contacts
-- The customers of a depth whom a campaign may contact, in the columns of top.csv.
SELECT as_of, revision, user_id, rank, churn_probability, monthly_fee, revenue_at_risk, reasons
FROM scores.customers
WHERE as_of = %(as_of)s AND revision = %(revision)s AND rank <= %(last_rank)s AND arm = %(arm)s
ORDER BY rank

-- name: count_matches
SELECT count(*) FROM scores.customers
WHERE as_of = %(as_of)s AND revision = %(revision)s AND starts_with(user_id, %(search)s)

-- name: customers_by
SELECT user_id, rank, decile, churn_probability, prediction, monthly_fee, revenue_at_risk, arm, reasons
FROM scores.customers
WHERE as_of = %(as_of)s AND revision = %(revision)s AND starts_with(user_id, %(search)s)
  AND (
      %(after)s = 0
      OR ({column}, -rank) < (
          (
              SELECT {column} FROM scores.customers
              WHERE as_of = %(as_of)s AND revision = %(revision)s AND rank = %(after)s
          ),
          -%(after)s
      )
  )
ORDER BY {column} DESC, rank
LIMIT %(limit)s

-- name: customers_by_rank
SELECT user_id, rank, decile, churn_probability, prediction, monthly_fee, revenue_at_risk, arm, reasons
FROM scores.customers
WHERE as_of = %(as_of)s AND revision = %(revision)s AND starts_with(user_id, %(search)s) AND rank > %(after)s
ORDER BY rank
LIMIT %(limit)s

-- name: groups
-- The customers of a revision by depth (hundredths of the list), decile and bin of the score, and how many of them left
-- by the labels of these drops.
WITH labels AS (
    SELECT DISTINCT ON (user_id) user_id, churn_label
    FROM snapshots.labels_snapshots
    WHERE as_of = %(as_of)s AND drop_as_of = ANY(%(label_drops)s)
    ORDER BY user_id, drop_as_of DESC
)
SELECT
    least((rank - 1)::bigint * %(depths)s / %(rows)s + 1, %(depths)s)::integer AS depth,
    decile,
    least(floor(churn_probability * %(bins)s), %(bins)s - 1)::integer AS bin,
    count(*) AS customers,
    count(*) FILTER (WHERE arm = %(treat)s) AS treat,
    sum(churn_probability) AS expected,
    coalesce(sum(churn_probability) FILTER (WHERE arm = %(treat)s), 0) AS expected_treat,
    sum(revenue_at_risk) AS revenue_at_risk,
    count(churn_label) AS labelled,
    count(*) FILTER (WHERE churn_label) AS churned
FROM scores.customers
LEFT JOIN labels USING (user_id)
WHERE as_of = %(as_of)s AND revision = %(revision)s
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3

-- name: label_drops
-- The drops that delivered labels of a date, and of which build their labels are.
SELECT as_of, drop_digest || ' ' || code_digest AS build
FROM snapshots.builds
WHERE %(as_of)s = ANY(label_dates) AND expired_at IS NULL
ORDER BY as_of

-- name: lists
SELECT as_of, revision, model_version, rows, scored_at FROM scores.current_runs ORDER BY as_of DESC

-- name: run
SELECT * FROM scores.runs
WHERE as_of = %(as_of)s AND revision = %(revision)s AND withdrawn_at IS NULL AND expired_at IS NULL
