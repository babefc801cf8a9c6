-- name: any_tombstone
SELECT FROM erasure.tombstones LIMIT 1

-- name: approve
UPDATE erasure.requests SET approved_by = coalesce(approved_by, %(approved_by)s)
WHERE request = %(request)s
RETURNING asked_at, who, why

-- name: bury
INSERT INTO erasure.tombstones (hash, request)
SELECT hash, %(request)s FROM unnest(%(hashes)s::bytea[]) AS hash
ON CONFLICT (hash) DO NOTHING

-- name: end
UPDATE erasure.requests SET ended_at = now(), result = %(result)s WHERE request = %(request)s AND ended_at IS NULL

-- name: open
INSERT INTO erasure.requests (request, who, why, customers)
VALUES (%(request)s, %(who)s, %(why)s, %(customers)s)
ON CONFLICT (request) DO NOTHING

-- name: record_place
INSERT INTO erasure.places (request, place, looked_at, rewritten, rows)
VALUES (%(request)s, %(place)s, %(looked_at)s, %(rewritten)s, %(rows)s)
ON CONFLICT (request, place) DO UPDATE SET
    looked_at = EXCLUDED.looked_at,
    rewritten = places.rewritten + EXCLUDED.rewritten,
    rows = places.rows + EXCLUDED.rows,
    done_at = now()

-- name: restore_request
-- A request of the ledger that the restored database lacks. It ends when its customers are removed from the backup.
INSERT INTO erasure.requests (request, asked_at, who, why, customers)
VALUES (%(request)s, %(asked_at)s, %(who)s, %(why)s, %(customers)s)
ON CONFLICT (request) DO NOTHING

-- name: tombstones
SELECT hash FROM erasure.tombstones
