-- name: decided_versions
-- The decisions of an AS_OF, the newest last, and before them those on the given versions, which earlier AS_OFs may have.
SELECT candidate_version, run_id
FROM gate.decisions
WHERE as_of = %(as_of)s
   OR (candidate_version, run_id) IN (SELECT * FROM unnest(%(versions)s::integer[], %(run_ids)s::text[]))
ORDER BY as_of = %(as_of)s, id

-- name: received
-- The state of each drop that was received between two instants. Only decisions after it was received count: earlier ones
-- are about the drop that it replaced.
SELECT
    drops.as_of,
    drops.received_at,
    EXISTS (
        SELECT FROM snapshots.builds b WHERE b.as_of = drops.as_of AND b.drop_digest = drops.digest
    ) AS is_snapshotted,
    EXISTS (
        SELECT FROM online.builds o
        WHERE o.as_of = drops.as_of AND o.drop_digest = drops.digest AND o.state IN ('published', 'older')
    ) AS is_materialized,
    EXISTS (
        SELECT FROM gate.decisions d WHERE d.as_of = drops.as_of AND d.decided_at >= drops.received_at
    ) AS is_decided,
    -- No list is due without a snapshot of the drop, nor of a drop from before there were lists. A list that retention
    -- deleted counts.
    coalesce((
        SELECT snapshots.digest IS NOT DISTINCT FROM (
            SELECT snapshot_digest
            FROM scores.runs
            WHERE runs.as_of = drops.as_of AND withdrawn_at IS NULL
            ORDER BY revision DESC
            LIMIT 1
        )
        FROM scores.snapshots
        WHERE snapshots.as_of = drops.as_of AND snapshots.drop_digest = drops.digest
          AND drops.received_at > (SELECT applied_at FROM public.churn_migrations WHERE name = '0012_scores')
    ), true) AS is_scored,
    -- The versions with a list that these labels are to judge, but not labels from before there were judgements.
    ARRAY(
        SELECT list.model_version || '/' || list.model_run_id
        FROM snapshots.builds
        JOIN scores.current_runs AS list ON list.as_of = ANY(builds.label_dates)
        WHERE builds.as_of = drops.as_of
          AND NOT EXISTS (SELECT FROM outcomes.current_judgements AS judged WHERE judged.as_of = list.as_of)
          AND drops.received_at > (SELECT applied_at FROM public.churn_migrations WHERE name = '0013_outcomes')
    ) AS unjudged
FROM raw.drops
WHERE drops.received_at BETWEEN %(since)s AND %(until)s
ORDER BY drops.as_of

-- name: unended
SELECT request, asked_at
FROM erasure.requests
WHERE ended_at IS NULL AND asked_at < %(limit)s
ORDER BY asked_at, request
