SELECT count(*) FROM gate.decisions
