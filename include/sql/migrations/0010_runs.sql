-- A version is a number and a run: numbers begin again where the registered model was deleted and made again, or MLflow
-- was restored.
ALTER TABLE gate.decisions ADD COLUMN production_run_id text;
COMMENT ON COLUMN gate.decisions.production_run_id IS
    'the run of production_version, empty: it has none; NULL: not known, of a row from before it was recorded';
ALTER TABLE gate.moves ADD COLUMN run_id text;
COMMENT ON COLUMN gate.moves.run_id IS
    'the run of version, empty: it has none; NULL: nothing, or not known, of a row from before it was recorded';

-- What the gate had decided on under that number until then is what was meant. History is otherwise append-only.
ALTER TABLE gate.decisions DISABLE TRIGGER append_only;
UPDATE gate.decisions AS d
SET production_run_id = (
    SELECT earlier.run_id
    FROM gate.decisions AS earlier
    WHERE earlier.candidate_version = d.production_version AND earlier.id < d.id
    ORDER BY earlier.id DESC
    LIMIT 1
)
WHERE d.production_version IS NOT NULL;
ALTER TABLE gate.decisions ENABLE TRIGGER append_only;

ALTER TABLE gate.moves DISABLE TRIGGER append_only;
UPDATE gate.moves AS m
SET run_id = (
    SELECT d.run_id
    FROM gate.decisions AS d
    WHERE d.candidate_version = m.version AND d.decided_at <= m.moved_at
    ORDER BY d.id DESC
    LIMIT 1
)
WHERE m.version IS NOT NULL;
ALTER TABLE gate.moves ENABLE TRIGGER append_only;
