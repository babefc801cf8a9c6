-- name: places
SELECT place, looked_at, rewritten, rows FROM erasure.places WHERE request = %(request)s ORDER BY done_at, place

-- name: request
SELECT asked_at, who, why, approved_by, customers, ended_at, result FROM erasure.requests WHERE request = %(request)s

-- name: versions
-- Those that learned from its customers.
SELECT DISTINCT version FROM erasure.versions WHERE request = %(request)s AND learned ORDER BY version
