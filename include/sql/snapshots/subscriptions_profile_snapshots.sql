INSERT INTO {table} (
    user_id, as_of, event_timestamp,
    signup_date, user_gender, user_is_senior, has_family, has_dependents,
    months_active, contract_type, monthly_fee, total_paid, paperless_billing,
    plan_stream_tv, plan_stream_movies, net_service
)
SELECT
    user_id, as_of, %(event_timestamp)s,
    u.signup_date, u.user_gender, u.user_is_senior, u.has_family, u.has_dependents,
    s.months_active, s.contract_type, s.monthly_fee, s.total_paid, s.paperless_billing,
    s.plan_stream_tv, s.plan_stream_movies, s.net_service
FROM raw.subscriptions s JOIN raw.users u USING (as_of, user_id)
WHERE as_of = %(as_of)s
ORDER BY user_id
