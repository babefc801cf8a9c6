SELECT count(*) FROM predictions.answered_any_month WHERE answered_at < %(limit)s
