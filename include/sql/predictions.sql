-- name: append
COPY predictions.answered
    (answered_at, request_id, user_id, churn_probability, prediction, threshold, model_version, features_as_of, features)
FROM STDIN
