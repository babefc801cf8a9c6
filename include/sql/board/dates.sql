-- What the system holds for each of the newest AS_OF dates, and whether each step has seen the drop that is loaded.
SELECT
    as_of,
    drops.revision,
    drops.received_at,
    (drops.files -> 'users.csv' ->> 'rows')::bigint AS rows,
    CASE WHEN builds.expired_at IS NULL THEN builds.built_at END AS snapshot_at,
    CASE WHEN builds.expired_at IS NULL THEN builds.drop_digest = drops.digest END AS snapshot_is_current,
    online.published_at AS online_at,
    online.drop_digest = drops.digest AS online_is_current,
    as_of IS NOT DISTINCT FROM %(served_as_of)s::date AS is_served,
    decisions.id AS decision,
    decisions.outcome,
    decisions.candidate_version,
    holds.held_at,
    holds.findings
FROM raw.drops
FULL JOIN snapshots.builds USING (as_of)
FULL JOIN raw.holds USING (as_of)
LEFT JOIN (
    SELECT DISTINCT ON (as_of) as_of, id, outcome, candidate_version
    FROM gate.decisions
    ORDER BY as_of, id DESC
) AS decisions USING (as_of)
LEFT JOIN (
    SELECT DISTINCT ON (as_of) as_of, drop_digest, begun_at AS published_at
    FROM online.builds
    WHERE state = 'published'
    ORDER BY as_of, build DESC
) AS online USING (as_of)
ORDER BY as_of DESC
LIMIT %(limit)s
