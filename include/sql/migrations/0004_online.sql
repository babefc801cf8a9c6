-- The online store: one table per feature view (made by `feast apply`), a partition of it for each build, and one pointer to
-- the build that is served.
CREATE TABLE online.builds (
    build       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    as_of       date        NOT NULL,
    drop_digest text,
    code_digest text,
    state       text        NOT NULL CHECK (state IN ('writing', 'published', 'older')),
    begun_at    timestamptz NOT NULL DEFAULT now(),
    rows        jsonb
);
COMMENT ON COLUMN online.builds.state IS
    'writing: not served; published: was served from then on; older: a newer AS_OF was served, nothing was written';

CREATE TABLE online.served (
    one          boolean     PRIMARY KEY DEFAULT true CHECK (one),
    build        bigint      NOT NULL REFERENCES online.builds,
    as_of        date        NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now()
);
