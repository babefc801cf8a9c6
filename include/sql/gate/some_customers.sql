SELECT user_id
FROM snapshots.subscriptions_profile_snapshots
WHERE event_timestamp = %(event_timestamp)s
ORDER BY user_id
LIMIT 5
