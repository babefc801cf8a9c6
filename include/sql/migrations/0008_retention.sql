-- Retention removes the rows of a date; what is known of it stays: the drop is not loaded a second time, and what a training
-- set of that time was made of can still be told.
ALTER TABLE raw.revisions ADD COLUMN expired_at timestamptz;
COMMENT ON COLUMN raw.revisions.expired_at IS
    'when retention removed its rows from raw.*; NULL: it did not. The archive has its files all the same';

CREATE OR REPLACE VIEW raw.drops AS
SELECT DISTINCT ON (as_of) as_of, revision, received_at, validated_at, digest, code_digest, files, expired_at
FROM raw.revisions
ORDER BY as_of, revision DESC;

ALTER TABLE snapshots.builds ADD COLUMN expired_at timestamptz;
COMMENT ON COLUMN snapshots.builds.expired_at IS 'when retention removed its rows from snapshots.*; NULL: they are there';
