-- name: anchor
SELECT version, run_id
FROM gate.moves
WHERE kind IN ('person', 'rollback') OR (kind = 'promotion' AND superior)
ORDER BY id DESC
LIMIT 1

-- name: append_decision
INSERT INTO gate.decisions (
    id, as_of, candidate_version, run_id, production_version, production_run_id, graded_on,
    outcome, reason, candidate_auc, candidate_auc_error, production_auc, production_auc_error,
    auc_difference, auc_difference_error, superior, overridden, report
)
OVERRIDING SYSTEM VALUE
VALUES (
    %(id)s, %(as_of)s, %(candidate_version)s, %(run_id)s, %(production_version)s, %(production_run_id)s, %(graded_on)s,
    %(outcome)s, %(reason)s, %(candidate_auc)s, %(candidate_auc_error)s, %(production_auc)s, %(production_auc_error)s,
    %(auc_difference)s, %(auc_difference_error)s, %(superior)s, %(overridden)s, %(report)s
)

-- name: append_keep
-- Sets a decision PROMOTE (the given or the last one) aside by a KEEP with the same figures, unless that was done before.
INSERT INTO gate.decisions (
    as_of, candidate_version, run_id, production_version, production_run_id, graded_on, outcome, reason,
    candidate_auc, production_auc, candidate_auc_error, production_auc_error, auc_difference, auc_difference_error,
    superior, overridden, report
)
SELECT
    as_of, candidate_version, run_id, production_version, production_run_id, graded_on, 'KEEP', %(reason)s,
    candidate_auc, production_auc, candidate_auc_error, production_auc_error, auc_difference, auc_difference_error,
    superior, overridden,
    report || jsonb_build_object('outcome', 'KEEP', 'reason', %(reason)s::text, 'sets_aside', id)
FROM (
    SELECT *
    FROM gate.decisions
    WHERE candidate_version = %(version)s AND run_id = %(run_id)s
      AND production_version IS NOT DISTINCT FROM %(production_version)s
      AND outcome = 'PROMOTE' AND (%(decision)s::bigint IS NULL OR id = %(decision)s)
    ORDER BY id DESC
    LIMIT 1
) AS made
WHERE NOT EXISTS (
    SELECT FROM gate.decisions AS later
    WHERE later.candidate_version = made.candidate_version AND (later.report ->> 'sets_aside')::bigint = made.id
)

-- name: append_move
INSERT INTO gate.moves (kind, version, run_id, previous_version, who, why, superior)
VALUES (
    %(kind)s, %(version)s, %(run_id)s,
    (SELECT version FROM gate.moves WHERE kind <> 'release' ORDER BY id DESC LIMIT 1),
    %(who)s, %(why)s, %(superior)s
)

-- name: clock
SELECT clock_timestamp()

-- name: decision_against
SELECT outcome, reason, production_version, superior, id
FROM gate.decisions
WHERE candidate_version = %(version)s AND run_id = %(run_id)s
  AND production_version IS NOT DISTINCT FROM %(production_version)s
  -- Rows from before runs were recorded have the version number only.
  AND coalesce(production_run_id = %(production_run_id)s, true)
  AND overridden = %(overridden)s
  -- Rows from before thresholds were recorded hold.
  AND coalesce(report -> 'thresholds' = %(thresholds)s::jsonb, true)
  AND (report ->> 'pinned') IS NOT DISTINCT FROM %(pinned)s
  -- A decision against another anchor does not hold. Without an anchor in the report it was Production, or there was none.
  AND coalesce((report -> 'anchor' ->> 'version')::integer, production_version, 0) = coalesce(%(anchor)s::integer, 0)
  AND coalesce((report -> 'anchor' ->> 'run_id') = %(anchor_run_id)s, true)
  AND coalesce((report ->> 'production_withdrawn')::boolean, false) = %(production_withdrawn)s
  AND NOT coalesce((report ->> 'passing_away')::boolean, false)
ORDER BY id DESC
LIMIT 1

-- name: graded_against
-- The Production that a candidate was graded against, in the given decision or in the last one against that number.
SELECT run_id, production_run_id
FROM gate.decisions
WHERE candidate_version = %(version)s
  AND CASE
      WHEN %(decision)s::bigint IS NOT NULL THEN id = %(decision)s
      ELSE run_id = %(run_id)s AND production_version IS NOT DISTINCT FROM %(production_version)s
  END
ORDER BY id DESC
LIMIT 1

-- name: latest_decision
SELECT outcome, reason, production_version, superior, id
FROM gate.decisions
WHERE candidate_version = %(version)s AND run_id = %(run_id)s
ORDER BY id DESC
LIMIT 1

-- name: latest_report
-- The given or the last decision of the gate on a version. Decisions that only set another aside have no files.
SELECT id, reason, report
FROM gate.decisions
WHERE candidate_version = %(version)s AND run_id = %(run_id)s AND NOT report ? 'sets_aside'
  AND (%(decision)s::bigint IS NULL OR id = %(decision)s)
ORDER BY id DESC
LIMIT 1

-- name: move_since
SELECT id
FROM gate.moves
WHERE kind = %(kind)s
  AND version IS NOT DISTINCT FROM %(version)s
  AND moved_at >= %(since)s::timestamptz
LIMIT 1

-- name: moved_to
SELECT version, run_id
FROM gate.moves
WHERE kind <> 'release'
ORDER BY id

-- name: moves_back
-- The moves of Production, newest first, each with the version that Production held before.
SELECT kind, version, run_id, lag(version) OVER history AS previous_version, lag(run_id) OVER history AS previous_run_id
FROM gate.moves
WHERE kind <> 'release'
WINDOW history AS (ORDER BY id)
ORDER BY id DESC

-- name: newest_drop
SELECT max(as_of) FROM raw.drops

-- name: newest_move
SELECT version, run_id
FROM gate.moves
WHERE kind <> 'release'
ORDER BY id DESC
LIMIT 1

-- name: next_decision
-- The next decision's id. Artifacts are named by it before the row is inserted.
SELECT nextval(pg_get_serial_sequence('gate.decisions', 'id'))

-- name: reports
-- The decisions of the gate on a version, oldest first. Decisions that only set another aside have no files.
SELECT id, report
FROM gate.decisions
WHERE candidate_version = %(version)s AND run_id = %(run_id)s AND NOT report ? 'sets_aside'
ORDER BY id

-- name: slices
-- The slices that a candidate must not harm, each with the indexes of its customers in `users`.
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

-- name: some_customers
-- A few customers suffice: publishing counts the rows of every view, so only a view or a column can be missing.
SELECT user_id
FROM snapshots.subscriptions_profile_snapshots
WHERE event_timestamp = %(event_timestamp)s
ORDER BY user_id
LIMIT 5

-- name: unrecorded_promotion
-- The last decision on the version if it is PROMOTE and is newer than every move to the version.
SELECT reason, superior
FROM (
    SELECT outcome, reason, superior, decided_at
    FROM gate.decisions
    WHERE candidate_version = %(version)s AND run_id = %(run_id)s
    ORDER BY id DESC
    LIMIT 1
) AS last
WHERE outcome = 'PROMOTE'
  AND NOT EXISTS (
      SELECT FROM gate.moves
      WHERE version = %(version)s AND coalesce(run_id = %(run_id)s, true) AND kind <> 'release'
        AND moved_at >= last.decided_at
  )

-- name: was_promoted
SELECT id
FROM gate.moves
WHERE kind = 'promotion' AND version = %(version)s AND coalesce(run_id = %(run_id)s, true)
LIMIT 1
