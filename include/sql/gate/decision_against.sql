SELECT outcome, reason, production_version, superior, id
FROM gate.decisions
WHERE candidate_version = %(version)s AND run_id = %(run_id)s
  AND production_version IS NOT DISTINCT FROM %(production_version)s
  -- A row from before the run was recorded is matched by the number alone.
  AND coalesce(production_run_id = %(production_run_id)s, true)
  AND overridden = %(overridden)s
  -- Another anchor since then is another comparison; without one in the report, Production was it, or there was none.
  AND coalesce((report -> 'anchor' ->> 'version')::integer, production_version, 0) = coalesce(%(anchor)s::integer, 0)
  AND coalesce((report -> 'anchor' ->> 'run_id') = %(anchor_run_id)s, true)
  AND coalesce((report ->> 'production_withdrawn')::boolean, false) = %(production_withdrawn)s
  AND NOT coalesce((report ->> 'passing_away')::boolean, false)
ORDER BY id DESC
LIMIT 1
