SELECT candidate_version FROM gate.decisions WHERE as_of = %(as_of)s
