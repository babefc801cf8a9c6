-- The kinds of customers that a candidate must not harm, each with the places of its customers among those asked for.
SELECT slice, array_agg(place - 1)
FROM unnest(%(users)s::text[]) WITH ORDINALITY AS asked (user_id, place)
JOIN snapshots.subscriptions_profile_snapshots s USING (user_id)
CROSS JOIN LATERAL unnest(ARRAY[
    'net service ' || s.net_service,
    CASE WHEN s.paperless_billing THEN 'paperless billing' ELSE 'billing on paper' END,
    CASE WHEN s.user_is_senior THEN 'senior' ELSE 'not senior' END,
    CASE
        WHEN s.months_active < 12 THEN 'tenure below 12 months'
        WHEN s.months_active < 36 THEN 'tenure 12 to 35 months'
        ELSE 'tenure from 36 months'
    END
]) AS slices (slice)
WHERE s.event_timestamp = %(event_timestamp)s
GROUP BY slice
