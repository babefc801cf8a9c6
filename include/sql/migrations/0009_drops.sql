-- A drop may be withdrawn, or held until a person accepts it; both are on record.
ALTER TABLE raw.revisions
    ADD COLUMN rules        integer NOT NULL DEFAULT 1,
    ADD COLUMN profile      jsonb,
    ADD COLUMN accepted     jsonb,
    ADD COLUMN withdrawn_at timestamptz;
COMMENT ON COLUMN raw.revisions.rules IS 'the rules of the contract that it was accepted by; it is read by these for ever';
COMMENT ON COLUMN raw.revisions.profile IS '{file: {column: figures}} that the next drop is compared with; NULL: loaded by older code';
COMMENT ON COLUMN raw.revisions.accepted IS 'the file _ACCEPT that lay beside it: {because, sha256, modified_ns}; NULL: there was none';
COMMENT ON COLUMN raw.revisions.withdrawn_at IS 'when its AS_OF was withdrawn; NULL: it was not';

CREATE OR REPLACE VIEW raw.drops AS
SELECT DISTINCT ON (as_of)
    as_of, revision, received_at, validated_at, digest, code_digest, files, expired_at, rules, profile, accepted
FROM raw.revisions
WHERE withdrawn_at IS NULL
ORDER BY as_of, revision DESC;

CREATE TABLE raw.withdrawals (
    as_of        date        NOT NULL,
    withdrawn_at timestamptz NOT NULL DEFAULT now(),
    who          text        NOT NULL CHECK (who <> ''),
    why          text        NOT NULL CHECK (why <> ''),
    PRIMARY KEY (as_of, withdrawn_at)
);
COMMENT ON TABLE raw.withdrawals IS 'every drop that was taken back, by whom and why; a drop of the same AS_OF may have come since';

CREATE TABLE raw.holds (
    as_of          date        PRIMARY KEY,
    held_at        timestamptz NOT NULL DEFAULT now(),
    content        text        NOT NULL,
    verdict        text        NOT NULL,
    against_as_of  date,
    against_digest text,
    findings       jsonb       NOT NULL
);
COMMENT ON TABLE raw.holds IS 'the drops that wait in the landing directory for a person to accept them';
COMMENT ON COLUMN raw.holds.content IS 'sha256 over the names and sha256 of the files, as raw.revisions.digest';
COMMENT ON COLUMN raw.holds.verdict IS 'sha256 of all that was judged: the files, manifest.json and _ACCEPT';
COMMENT ON COLUMN raw.holds.against_as_of IS 'the nearest earlier drop that was loaded then; NULL: there was none';
COMMENT ON COLUMN raw.holds.findings IS 'what a person is asked to accept, a sentence each';

-- Features of a withdrawn AS_OF are never served again.
ALTER TABLE online.builds
    DROP CONSTRAINT builds_state_check,
    ADD CONSTRAINT builds_state_check CHECK (state IN ('writing', 'published', 'older', 'withdrawn'));
COMMENT ON COLUMN online.builds.state IS
    'writing: not served; published: was served from then on; older: a newer AS_OF was served, nothing was written; '
    'withdrawn: was published, and its AS_OF was withdrawn since';
