-- This month and the next two. One whose answers lie in answered_any_month already, as nobody had made it, stays there.
SELECT churn_attach_month('predictions.answered', day::date)
FROM generate_series(date_trunc('month', now()), now() + interval '2 months', interval '1 month') AS day
WHERE to_regclass('predictions.answered' || to_char(day, '_YYYY_MM')) IS NULL
  AND NOT EXISTS (
      SELECT FROM predictions.answered_any_month WHERE answered_at >= day AND answered_at < day + interval '1 month'
  )
