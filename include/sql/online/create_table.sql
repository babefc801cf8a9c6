-- The key leads: one build holds each customer once, and comparing the builds first would tell nothing.
CREATE TABLE IF NOT EXISTS {table} (
    {join_key}      text COLLATE "C" NOT NULL,
    build           bigint           NOT NULL,
    event_timestamp timestamptz      NOT NULL,
    PRIMARY KEY ({join_key}, build)
) PARTITION BY LIST (build)
