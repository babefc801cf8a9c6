-- name: answered
-- The last answer of the API for each customer and version, with the label.
SELECT DISTINCT ON (answered.model_version, answered.user_id)
    answered.model_version,
    answered.user_id,
    answered.churn_probability,
    answered.prediction = 1 AS prediction,
    0 AS decile,
    'all' AS arm,
    false AS contacted,
    label.churn_label
FROM predictions.answered
JOIN (
    SELECT DISTINCT ON (user_id) user_id, churn_label
    FROM snapshots.labels_snapshots
    WHERE as_of = {as_of}::date AND drop_as_of BETWEEN {as_of}::date AND {known_as_of}::date
    ORDER BY user_id, drop_as_of DESC
) AS label USING (user_id)
WHERE answered.features_as_of = {as_of}::date
  -- Nobody is answered for a date before it: months before it are not read.
  AND answered.answered_at >= {as_of}::date
  AND {in_sample}
ORDER BY answered.model_version, answered.user_id, answered.answered_at DESC

-- name: answers
SELECT count(*) FROM predictions.answered WHERE features_as_of = %(as_of)s AND answered_at >= %(as_of)s::date

-- name: changed_dates
-- The dates that a drop says something new about: a label that no earlier drop had, or another one, or actions.
SELECT came.as_of
FROM snapshots.labels_snapshots came
LEFT JOIN (
    SELECT DISTINCT ON (user_id, as_of) user_id, as_of, churn_label
    FROM snapshots.labels_snapshots
    WHERE drop_as_of < %(known_as_of)s
      -- No drop delivers labels of a later date.
      AND drop_as_of >= (
          SELECT min(labelled) FROM snapshots.builds, unnest(label_dates) AS labelled WHERE as_of = %(known_as_of)s
      )
    ORDER BY user_id, as_of, drop_as_of DESC
) AS known USING (user_id, as_of)
WHERE came.drop_as_of = %(known_as_of)s AND known.churn_label IS DISTINCT FROM came.churn_label
UNION
SELECT as_of FROM snapshots.actions_snapshots WHERE drop_as_of = %(known_as_of)s
ORDER BY as_of

-- name: decided_against
-- The versions that the decisions at an AS_OF were held against, the last one first.
SELECT decisions.production_version, decisions.production_run_id
FROM gate.decisions
WHERE decisions.as_of = %(as_of)s AND decisions.production_version IS NOT NULL
ORDER BY decisions.id DESC

-- name: earlier_lists
-- The lists before a date that a version scored, newest first.
SELECT * FROM scores.current_runs
WHERE as_of < %(as_of)s AND model_version = %(model_version)s AND model_run_id = %(model_run_id)s
ORDER BY as_of DESC

-- name: expected
SELECT EXISTS (
    SELECT FROM outcomes.expected
    WHERE as_of = %(as_of)s AND list_revision = %(list_revision)s AND code_digest = %(code_digest)s
)

-- name: expired
-- Whether retention removed labels of a date, or the list that was judged: a judgement without them would be of less.
SELECT EXISTS (SELECT FROM snapshots.builds WHERE %(as_of)s = ANY(label_dates) AND expired_at IS NOT NULL)
    OR EXISTS (
        SELECT FROM outcomes.current_judgements AS judgement
        JOIN scores.runs AS list ON list.as_of = judgement.as_of AND list.revision = judgement.list_revision
        WHERE judgement.as_of = %(as_of)s AND list.expired_at IS NOT NULL
          AND NOT EXISTS (SELECT FROM scores.current_runs AS now WHERE now.as_of = judgement.as_of)
    )

-- name: judge
INSERT INTO outcomes.judgements (
    as_of, revision, known_as_of, list_revision, list_version, answering_version, answering_run_id, labelled_by,
    treated_by, label_days, code_digest
)
SELECT
    %(as_of)s, coalesce(max(revision), 0) + 1, %(known_as_of)s, %(list_revision)s, %(list_version)s,
    %(answering_version)s, %(answering_run_id)s, %(labelled_by)s, %(treated_by)s, %(label_days)s,
    %(code_digest)s
FROM outcomes.judgements
WHERE as_of = %(as_of)s
RETURNING revision

-- name: labelled_by
-- The drops up to an AS_OF that delivered labels of a date, and what is in them.
SELECT as_of::text, drop_digest
FROM snapshots.builds
WHERE %(as_of)s = ANY(label_dates) AND as_of <= %(known_as_of)s
ORDER BY as_of

-- name: last_judgement
SELECT list_revision, list_version, answering_version, answering_run_id, labelled_by, treated_by, label_days,
    code_digest
FROM outcomes.judgements
WHERE as_of = %(as_of)s AND known_as_of <= %(known_as_of)s AND withdrawn_at IS NULL
ORDER BY known_as_of DESC, revision DESC
LIMIT 1

-- name: list_rows
SELECT
    customers.user_id,
    customers.churn_probability,
    customers.prediction = 1 AS prediction,
    customers.decile,
    customers.arm,
    action.user_id IS NOT NULL AS contacted,
    label.churn_label
FROM {partition} AS customers
JOIN (
    SELECT DISTINCT ON (user_id) user_id, churn_label
    FROM snapshots.labels_snapshots
    WHERE as_of = {as_of}::date AND drop_as_of BETWEEN {as_of}::date AND {known_as_of}::date
    ORDER BY user_id, drop_as_of DESC
) AS label USING (user_id)
LEFT JOIN (
    SELECT DISTINCT user_id
    FROM snapshots.actions_snapshots
    WHERE as_of = {as_of}::date AND drop_as_of BETWEEN {as_of}::date AND {known_as_of}::date
) AS action USING (user_id)
WHERE {in_sample}
ORDER BY customers.rank

-- name: list_scores
SELECT user_id, churn_probability FROM {partition} AS customers WHERE {in_sample} ORDER BY rank

-- name: mark_withdrawn
-- The judgements of a withdrawn date, and those that its drop brought.
UPDATE outcomes.judgements SET withdrawn_at = now()
WHERE %(drop)s IN (as_of, known_as_of) AND withdrawn_at IS NULL

-- name: mark_unlabelled
-- The judgements of a date that no drop labels any more.
UPDATE outcomes.judgements SET withdrawn_at = now()
WHERE as_of = %(as_of)s AND withdrawn_at IS NULL

-- name: newest_drop
-- The newest drop with labels or actions of a date, NULL without labels.
SELECT greatest(
    max(as_of),
    (SELECT max(drop_as_of) FROM snapshots.actions_snapshots AS action WHERE action.as_of = %(as_of)s)
)
FROM snapshots.builds
WHERE %(as_of)s = ANY(label_dates)
HAVING max(as_of) IS NOT NULL

-- name: record_alarm
INSERT INTO outcomes.alarms (model_version, model_run_id, verdict, as_of, revision)
VALUES (%(model_version)s, %(model_run_id)s, %(verdict)s, %(as_of)s, %(revision)s)

-- name: record_effect
INSERT INTO outcomes.effects (
    as_of, revision, contacted, control_contacted, treat_rows, treat_churned, control_rows, control_churned, effect,
    effect_low, effect_high
)
VALUES (
    %(as_of)s, %(revision)s, %(contacted)s, %(control_contacted)s, %(treat_rows)s, %(treat_churned)s, %(control_rows)s,
    %(control_churned)s, %(effect)s, %(effect_low)s, %(effect_high)s
)

-- name: record_expected
INSERT INTO outcomes.expected (
    as_of, list_revision, basis, code_digest, model_version, model_run_id, calibrated_on, rows, auc, auc_low, auc_high,
    brier, brier_low, brier_high, churn_rate, churn_rate_low, churn_rate_high
)
VALUES (
    %(as_of)s, %(list_revision)s, %(basis)s, %(code_digest)s, %(model_version)s, %(model_run_id)s, %(calibrated_on)s,
    %(rows)s, %(auc)s, %(auc_low)s, %(auc_high)s, %(brier)s, %(brier_low)s, %(brier_high)s, %(churn_rate)s,
    %(churn_rate_low)s, %(churn_rate_high)s
)

-- name: record_performance
INSERT INTO outcomes.performance (
    as_of, revision, model_version, model_run_id, source, basis, arm, slice, decides, rows, churned, auc, auc_error,
    auc_low, auc_high, brier, calibration_intercept, calibration_slope, mean_probability, churn_rate, lift, capture,
    precision, recall, promised_auc, promised_error, promised_low, promised_high, verdict, reason
)
VALUES (
    %(as_of)s, %(revision)s, %(model_version)s, %(model_run_id)s, %(source)s, %(basis)s, %(arm)s, %(slice)s,
    %(decides)s, %(rows)s, %(churned)s, %(auc)s, %(auc_error)s, %(auc_low)s, %(auc_high)s, %(brier)s,
    %(calibration_intercept)s, %(calibration_slope)s, %(mean_probability)s, %(churn_rate)s, %(lift)s, %(capture)s,
    %(precision)s, %(recall)s, %(promised_auc)s, %(promised_error)s, %(promised_low)s, %(promised_high)s, %(verdict)s,
    %(reason)s
)

-- name: rests_on
-- The dates whose judgements rest on a drop that was corrected or withdrawn.
SELECT DISTINCT as_of
FROM outcomes.judgements
WHERE withdrawn_at IS NULL AND (labelled_by ? %(drop)s::text OR treated_by ? %(drop)s::text)
ORDER BY as_of

-- name: told
-- The last alert about each version.
SELECT DISTINCT ON (model_version, model_run_id) model_version, model_run_id, verdict
FROM outcomes.alarms
ORDER BY model_version, model_run_id, id DESC

-- name: track
-- What was expected of the lists whose labels came since, and what came: both of the rows that decide.
SELECT expected.as_of, expected.auc, expected.auc_low, expected.auc_high, realized.auc
FROM outcomes.expectations AS expected
JOIN outcomes.current AS realized
    ON realized.as_of = expected.as_of AND realized.basis = expected.basis
   AND realized.model_version = expected.model_version AND realized.model_run_id = expected.model_run_id
-- After a campaign the control arm decides, and the labels of the others tell of the campaign.
WHERE realized.source = 'list' AND realized.arm = 'all' AND realized.slice = 'all' AND realized.decides
  AND expected.auc IS NOT NULL AND realized.auc IS NOT NULL AND realized.verdict <> 'too few rows'
ORDER BY expected.as_of

-- name: treated_by
-- The drops up to an AS_OF that delivered actions of a date, and what is in them.
SELECT as_of::text, drop_digest
FROM snapshots.builds
WHERE as_of IN (
    SELECT drop_as_of
    FROM snapshots.actions_snapshots
    WHERE as_of = %(as_of)s AND drop_as_of BETWEEN %(as_of)s AND %(known_as_of)s
)
ORDER BY as_of

-- name: unjudged
-- The lists whose labels are there, and that are not judged, or were judged by another list or by drops that changed.
SELECT list.as_of, list.model_version, list.model_run_id
FROM scores.current_runs AS list
LEFT JOIN outcomes.current_judgements AS judgement USING (as_of)
CROSS JOIN LATERAL (
    SELECT
        jsonb_object_agg(builds.as_of::text, drop_digest) FILTER (WHERE builds.as_of <= judgement.known_as_of) AS drops,
        bool_or(expired_at IS NOT NULL) AS is_expired
    FROM snapshots.builds
    WHERE list.as_of = ANY(label_dates)
    HAVING count(*) > 0
) AS labels
WHERE NOT labels.is_expired
  AND (judgement.list_revision IS DISTINCT FROM list.revision OR judgement.labelled_by IS DISTINCT FROM labels.drops)
ORDER BY list.as_of

-- name: verdicts
SELECT
    model_version, model_run_id, as_of, revision, known_as_of, source, basis, arm, rows, auc, auc_low, auc_high,
    promised_auc, promised_low, promised_high, verdict, reason
FROM outcomes.verdicts
ORDER BY model_version, model_run_id
