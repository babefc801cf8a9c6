-- The id of the decision that is being put on record: what its row names is made before the row.
SELECT nextval(pg_get_serial_sequence('gate.decisions', 'id'))
