SELECT outcome, reason, production_version, superior, id
FROM gate.decisions
WHERE candidate_version = %(version)s AND production_version IS NOT DISTINCT FROM %(production_version)s
  AND overridden = %(overridden)s
  -- Another anchor since then is another comparison; without one in the report, Production was it, or there was none.
  AND coalesce((report -> 'anchor' ->> 'version')::integer, production_version, 0) = coalesce(%(anchor)s::integer, 0)
  AND NOT coalesce((report ->> 'passing_away')::boolean, false)
ORDER BY id DESC
LIMIT 1
