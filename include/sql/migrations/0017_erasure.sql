-- Customers who asked to be forgotten. What stays of them is a keyed hash; the key is not in the database.
CREATE SCHEMA erasure;
COMMENT ON SCHEMA erasure IS 'customers who were erased: the requests, keyed hashes of their ids, and what was done in each place';

CREATE TABLE erasure.requests (
    request     text        PRIMARY KEY,
    asked_at    timestamptz NOT NULL DEFAULT now(),
    who         text        NOT NULL CHECK (who <> ''),
    why         text        NOT NULL CHECK (why <> ''),
    approved_by text,
    customers   integer     NOT NULL CHECK (customers > 0),
    ended_at    timestamptz,
    result      text        CHECK (result IN ('erased', 'refused'))
);
COMMENT ON COLUMN erasure.requests.request IS 'a random name, also that of the file of ids, which is deleted at the end';
COMMENT ON COLUMN erasure.requests.approved_by IS 'the second person, where approval is switched on';
COMMENT ON COLUMN erasure.requests.result IS 'NULL: the request waits for approval, is under way or was interrupted';

CREATE TABLE erasure.tombstones (
    hash    bytea PRIMARY KEY CHECK (length(hash) = 32),
    request text  NOT NULL REFERENCES erasure.requests
);
COMMENT ON COLUMN erasure.tombstones.hash IS 'BLAKE2b of the user_id, with the key in CHURN_ERASURE_DIR';

CREATE TABLE erasure.places (
    request   text        NOT NULL REFERENCES erasure.requests,
    place     text        NOT NULL,
    looked_at integer     NOT NULL,
    rewritten integer     NOT NULL,
    rows      bigint      NOT NULL,
    done_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (request, place)
);
COMMENT ON TABLE erasure.places IS 'what a request did in each place: tables or files looked at, those rewritten, and rows removed';

CREATE TABLE erasure.rewrites (
    old_sha256 text        PRIMARY KEY,
    new_sha256 text        NOT NULL,
    rows       integer     NOT NULL,
    bytes      bigint      NOT NULL,
    request    text        NOT NULL REFERENCES erasure.requests,
    written_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE erasure.rewrites IS 'archived files that were written again without erased customers; lineage names the old file';
COMMENT ON COLUMN erasure.rewrites.rows IS 'rows removed';
COMMENT ON COLUMN erasure.rewrites.bytes IS 'of the new content';

CREATE TABLE erasure.versions (
    version    integer NOT NULL,
    run_id     text    NOT NULL,
    request    text    NOT NULL REFERENCES erasure.requests,
    learned    boolean NOT NULL,
    erased_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (version, run_id, request)
);
COMMENT ON TABLE erasure.versions IS 'model versions whose training set or evidence had erased customers: they cannot be reproduced';
COMMENT ON COLUMN erasure.versions.learned IS 'the version was trained on them, not only graded: its tag is trained_on_erased';

-- A drop that brings an erased customer is loaded without them.
ALTER TABLE raw.revisions
    ADD COLUMN landed_digests text[]  NOT NULL DEFAULT '{}',
    ADD COLUMN erased_rows    integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN raw.revisions.landed_digests IS
    'as digest, of the drop with rows of erased customers that were left out or removed since';
COMMENT ON COLUMN raw.revisions.erased_rows IS 'rows of erased customers that were left out or removed since';

CREATE OR REPLACE VIEW raw.drops AS
SELECT DISTINCT ON (as_of)
    as_of, revision, received_at, validated_at, digest, code_digest, files, expired_at, rules, profile, accepted,
    landed_digests, erased_rows
FROM raw.revisions
WHERE withdrawn_at IS NULL
ORDER BY as_of, revision DESC;
