-- name: add_column
ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} {type}

-- name: attach_build
ALTER TABLE {table} ATTACH PARTITION {build_table} FOR VALUES IN ({build})

-- name: begin_build
INSERT INTO online.builds (as_of, drop_digest, code_digest, state)
VALUES (%(as_of)s, %(drop_digest)s, %(code_digest)s, %(state)s)
RETURNING build, begun_at

-- name: build_being_written
SELECT build, begun_at
FROM online.builds
WHERE as_of = %(as_of)s AND state = 'writing'
ORDER BY build DESC
LIMIT 1

-- name: copy_snapshot
INSERT INTO {table} (build, {join_key}, event_timestamp, {features})
SELECT %(build)s, {join_key}, {timestamp}, {features}
FROM {source} AS source
WHERE {timestamp} = %(event_timestamp)s

-- name: count_rows
SELECT count(*) FROM {build_table}

-- name: create_build
CREATE TABLE {build_table} (LIKE {table})

-- name: create_table
-- The join key comes first: a build has each customer once, so the build is not selective.
CREATE TABLE IF NOT EXISTS {table} (
    {join_key}      text COLLATE "C" NOT NULL,
    build           bigint           NOT NULL,
    event_timestamp timestamptz      NOT NULL,
    PRIMARY KEY ({join_key}, build)
) PARTITION BY LIST (build)

-- name: discard_unpublished
DELETE FROM online.builds WHERE state = 'writing'

-- name: drop_build
DROP TABLE IF EXISTS {build_table}

-- name: drop_table
DROP TABLE IF EXISTS {table}

-- name: limit_waiting
SET LOCAL lock_timeout = '100ms'

-- name: mark_published
-- begun_at as well: a restored database reuses build numbers.
UPDATE online.builds SET state = 'published', rows = %(rows)s
WHERE build = %(build)s AND begun_at = %(begun_at)s AND state = 'writing'

-- name: materialized
-- The materialized AS_OFs, newest first, except withdrawn ones.
SELECT DISTINCT as_of, snapshots.builds.expired_at IS NOT NULL AS is_expired
FROM online.builds
JOIN snapshots.builds USING (as_of)
WHERE state IN ('published', 'older')
ORDER BY as_of DESC

-- name: other_builds
-- The tables of a view's builds that are not served: the previous build, and those of killed materializations.
SELECT relname
FROM pg_class
WHERE relnamespace = 'online'::regnamespace AND relkind = 'r' AND relname ~ ('^' || %(view)s || '_[0-9]+$')
  AND relname IS DISTINCT FROM (SELECT %(view)s || '_' || build FROM online.served)

-- name: read
SELECT {columns}, (SELECT build FROM online.served)
FROM unnest(%(keys)s::text[]) WITH ORDINALITY AS keys (key, position)
{views}
ORDER BY keys.position

-- name: read_one
SELECT {columns}, (SELECT build FROM online.served)
FROM (SELECT %(key)s::text AS key) AS keys
{views}

-- name: read_view
LEFT JOIN {table} AS {view} ON {view}.build = (SELECT build FROM online.served) AND {view}.{join_key} = keys.key

-- name: serve
INSERT INTO online.served (build, as_of) VALUES (%(build)s, %(as_of)s)
ON CONFLICT (one) DO UPDATE SET build = EXCLUDED.build, as_of = EXCLUDED.as_of, published_at = now()

-- name: serve_no_longer
DELETE FROM online.served WHERE build = %(build)s

-- name: serve_nothing
DELETE FROM online.served

-- name: served
SELECT s.build, s.as_of, b.drop_digest, b.code_digest, b.rows
FROM online.served s JOIN online.builds b USING (build)

-- name: snapshot_rows
-- Each customer of a snapshot, with a view's features as a JSON array.
SELECT {join_key}, array_to_json(ARRAY[{features}])::text
FROM {source} AS source
WHERE {timestamp} = %(event_timestamp)s
