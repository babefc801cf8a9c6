SELECT outcome, reason, production_version, superior
FROM gate.decisions
WHERE candidate_version = %(version)s AND production_version IS NOT DISTINCT FROM %(production_version)s
  AND overridden = %(overridden)s AND NOT coalesce((report ->> 'passing_away')::boolean, false)
ORDER BY id DESC
LIMIT 1
