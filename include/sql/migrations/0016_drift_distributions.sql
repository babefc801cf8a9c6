-- What the page Health draws of a flagged finding. Findings from before have none.
ALTER TABLE drift.columns ADD COLUMN distribution jsonb CHECK (flagged OR distribution IS NULL);
COMMENT ON COLUMN drift.columns.distribution IS
    'of a flagged finding: shares of the rows by bin or value, of the reference and of the AS_OF; see churn.drift.distribution';

-- As before, with the new column.
CREATE OR REPLACE VIEW drift.current AS
SELECT compared.*
FROM drift.columns compared
JOIN (SELECT as_of, max(revision) AS revision FROM drift.columns GROUP BY as_of) newest USING (as_of, revision)
WHERE EXISTS (SELECT FROM snapshots.builds WHERE builds.as_of = compared.as_of);

CREATE VIEW drift.drifted_columns AS
SELECT reference, count(*) FILTER (WHERE flagged)::integer AS columns
FROM drift.current
WHERE as_of = (SELECT max(as_of) FROM drift.current)
GROUP BY reference;
COMMENT ON VIEW drift.drifted_columns IS 'how many columns of the newest compared AS_OF are flagged, by reference';
