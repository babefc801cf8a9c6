SELECT candidate_version, run_id FROM gate.decisions WHERE as_of = %(as_of)s ORDER BY id
