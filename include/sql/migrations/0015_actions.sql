-- Who was contacted, and how: the optional file actions.csv. As with labels, action_as_of is the date of the action, and as_of
-- the drop that brought it.
CREATE TABLE raw.actions (
    as_of        date NOT NULL,
    action_as_of date NOT NULL,
    user_id      text NOT NULL,
    action       text NOT NULL,
    CHECK (action_as_of <= as_of)
) PARTITION BY RANGE (as_of);
CREATE INDEX ON raw.actions USING brin (as_of) WITH (autosummarize = on);

-- Keyed by the drop that delivered the action too: AS_OF D sees those that the drops <= D delivered, all of them.
CREATE TABLE snapshots.actions_snapshots (
    user_id    text NOT NULL,
    as_of      date NOT NULL,
    drop_as_of date NOT NULL,
    action     text NOT NULL,
    PRIMARY KEY (drop_as_of, as_of, user_id, action),
    CHECK (as_of <= drop_as_of)
) PARTITION BY RANGE (drop_as_of);
