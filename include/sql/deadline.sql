-- name: decided_versions
SELECT candidate_version, run_id FROM gate.decisions WHERE as_of = %(as_of)s ORDER BY id

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
    ) AS is_decided
FROM raw.drops
WHERE drops.received_at BETWEEN %(since)s AND %(until)s
ORDER BY drops.as_of
