-- name: any_tombstone
SELECT true FROM erasure.tombstones LIMIT 1

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

-- name: first_of_version
-- The date in UTC of the first erasure of customers that a version learned from.
SELECT min(erased_at)::date FROM erasure.versions
WHERE version = %(version)s AND run_id = %(run_id)s AND learned

-- name: open
INSERT INTO erasure.requests (request, who, why, customers)
VALUES (%(request)s, %(who)s, %(why)s, %(customers)s)
ON CONFLICT (request) DO NOTHING

-- name: overdue_versions
-- The versions that learned from customers whose erasure began before the limit.
SELECT version, run_id, min(erased_at) AS erased_at
FROM erasure.versions
WHERE learned
GROUP BY version, run_id
HAVING min(erased_at) < %(limit)s
ORDER BY version, run_id

-- name: record_place
INSERT INTO erasure.places (request, place, looked_at, rewritten, rows)
VALUES (%(request)s, %(place)s, %(looked_at)s, %(rewritten)s, %(rows)s)
ON CONFLICT (request, place) DO UPDATE SET
    looked_at = EXCLUDED.looked_at,
    rewritten = places.rewritten + EXCLUDED.rewritten,
    rows = places.rows + EXCLUDED.rows,
    done_at = now()

-- name: record_version
-- A resumed call may find only files that tell less than those of which the first one removed the customers.
INSERT INTO erasure.versions (version, run_id, request, learned)
VALUES (%(version)s, %(run_id)s, %(request)s, %(learned)s)
ON CONFLICT (version, run_id, request) DO UPDATE SET learned = versions.learned OR EXCLUDED.learned
RETURNING learned

-- name: removed_from_version
-- The date in UTC of the first erasure of customers from a version's files, and whether it learned from any; of the
-- customers it learned from, if it did.
SELECT coalesce(min(erased_at) FILTER (WHERE learned), min(erased_at))::date, bool_or(learned)
FROM erasure.versions
WHERE version = %(version)s AND run_id = %(run_id)s

-- name: restore_request
-- A request of the ledger that the restored database lacks. It ends when its customers are removed from the backup.
INSERT INTO erasure.requests (request, asked_at, who, why, customers)
VALUES (%(request)s, %(asked_at)s, %(who)s, %(why)s, %(customers)s)
ON CONFLICT (request) DO NOTHING

-- name: tombstones
SELECT hash FROM erasure.tombstones

-- name: record_rewrite
INSERT INTO erasure.rewrites (old_sha256, new_sha256, rows, bytes, request)
VALUES (%(old)s, %(new)s, %(rows)s, %(bytes)s, %(request)s)
ON CONFLICT (old_sha256) DO UPDATE SET
    new_sha256 = EXCLUDED.new_sha256, rows = EXCLUDED.rows, bytes = EXCLUDED.bytes, request = EXCLUDED.request

-- name: renew_builds
UPDATE online.builds SET drop_digest = %(new)s WHERE as_of = %(as_of)s AND drop_digest = %(old)s

-- name: renew_holds
UPDATE raw.holds SET against_digest = %(new)s WHERE against_as_of = %(as_of)s AND against_digest = %(old)s

-- name: renew_judgements
UPDATE outcomes.judgements SET
    labelled_by = replace(labelled_by::text, %(old)s, %(new)s)::jsonb,
    treated_by = replace(treated_by::text, %(old)s, %(new)s)::jsonb
WHERE labelled_by ->> %(as_of)s::text = %(old)s OR treated_by ->> %(as_of)s::text = %(old)s

-- name: renew_lists
UPDATE scores.runs SET
    snapshot_digest = encode(sha256(convert_to(%(new)s || ' ' || built.code_digest, 'UTF8')), 'hex')
FROM snapshots.builds AS built
WHERE runs.as_of = %(as_of)s AND built.as_of = runs.as_of AND built.drop_digest = %(old)s
  AND snapshot_digest = encode(sha256(convert_to(%(old)s || ' ' || built.code_digest, 'UTF8')), 'hex')

-- name: renew_revision
UPDATE raw.revisions SET
    digest = %(new)s,
    landed_digests = landed_digests || %(old)s::text,
    files = %(files)s,
    erased_rows = erased_rows + %(rows)s
WHERE as_of = %(as_of)s AND revision = %(revision)s

-- name: renew_snapshot
UPDATE snapshots.builds SET drop_digest = %(new)s WHERE as_of = %(as_of)s AND drop_digest = %(old)s

-- name: revisions
SELECT as_of, revision, digest, files FROM raw.revisions ORDER BY as_of, revision

-- name: rewrites
SELECT old_sha256, new_sha256, rows, bytes FROM erasure.rewrites

-- name: create_users
CREATE TEMPORARY TABLE erased (user_id text NOT NULL) ON COMMIT DROP

-- name: digests_of_builds
SELECT build, drop_digest FROM online.builds WHERE drop_digest IS NOT NULL

-- name: remove
-- The collation is named, because tables differ in theirs. One row for each partition and key that lost rows.
WITH gone AS (
    DELETE FROM {table} AS kept USING erased
    WHERE kept.user_id = erased.user_id COLLATE "C"
    RETURNING kept.tableoid AS leaf, {key} AS key
)
SELECT leaf::regclass::text, key, count(*)::integer FROM gone GROUP BY leaf, key ORDER BY leaf, key

-- name: renew_build_rows
UPDATE online.builds SET rows = jsonb_set(rows, ARRAY[%(view)s], to_jsonb((rows ->> %(view)s)::integer - %(rows)s))
WHERE build = %(build)s::bigint AND rows ? %(view)s

-- name: renew_list_rows
UPDATE scores.runs SET
    rows = rows - %(rows)s,
    (expected_churners, revenue_at_risk) = (
        SELECT coalesce(sum(churn_probability), 0), coalesce(sum(revenue_at_risk), 0) FROM {partition}
    )
WHERE as_of = %(as_of)s::date AND revision = %(revision)s::integer

-- name: renew_snapshot_rows
UPDATE snapshots.builds SET rows = jsonb_set(rows, ARRAY[%(table)s], to_jsonb((rows ->> %(table)s)::integer - %(rows)s))
WHERE as_of = %(as_of)s::date AND rows ? %(table)s

-- name: user_tables
SELECT nspname, relname
FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE attname = 'user_id' AND NOT attisdropped AND relkind IN ('r', 'p') AND NOT relispartition
  AND nspname NOT LIKE 'pg\_%%' AND nspname <> 'information_schema'
ORDER BY nspname, relname

-- name: checkpoint
CHECKPOINT

-- name: held_rows
-- The tables and partitions that lost rows, and the months of the drops whose archived files were written again: an earlier
-- revision may have left dead rows in them.
WITH months AS (
    SELECT to_char(day, '_YYYY_MM') AS suffix
    FROM raw.revisions AS r, jsonb_each(files) AS file, unnest(ARRAY[r.as_of, r.as_of + 1]) AS day
    JOIN erasure.rewrites ON true
    WHERE new_sha256 = file.value ->> 'sha256' AND request = %(request)s
)
SELECT nspname, relname
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND (
    pg_class.oid::regclass::text IN (
        SELECT substr(place, 7) FROM erasure.places
        WHERE request = %(request)s AND rewritten > 0 AND starts_with(place, 'table ')
    )
    OR nspname IN ('raw', 'snapshots') AND relispartition AND right(relname, 8) IN (SELECT suffix FROM months)
)
ORDER BY nspname, relname

-- name: vacuum
VACUUM (FULL, ANALYZE) {table}

-- name: vacuum_statistics
VACUUM FULL pg_catalog.pg_statistic

-- name: rows_of
SELECT to_jsonb(kept) FROM {table} AS kept WHERE user_id = %(user)s

-- name: tombstone
SELECT asked_at, ended_at, why FROM erasure.tombstones JOIN erasure.requests USING (request) WHERE hash = %(hash)s

-- name: ended
SELECT request FROM erasure.requests WHERE ended_at IS NOT NULL

-- name: users_of
SELECT DISTINCT user_id FROM {table}

-- name: renew_hold
UPDATE raw.holds SET content = %(content)s, verdict = %(verdict)s WHERE as_of = %(as_of)s
