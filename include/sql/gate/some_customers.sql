-- Enough to tell: a build is published with every customer of every view counted; what it may lack is a view or a column.
SELECT user_id
FROM snapshots.subscriptions_profile_snapshots
WHERE event_timestamp = %(event_timestamp)s
ORDER BY user_id
LIMIT 5
