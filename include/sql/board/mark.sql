-- Changes with anything that the board shows of the database but what is served, and is read from indexes and small
-- tables.
-- A lower id may be seen after a higher one, hence the counts.
SELECT concat_ws(
    '/',
    (SELECT max(id) || ':' || count(*) FROM gate.decisions),
    (SELECT max(id) || ':' || count(*) FROM gate.moves),
    (SELECT count(*) || ':' || max(received_at) || ':' || count(withdrawn_at) FROM raw.revisions),
    (SELECT count(*) || ':' || max(built_at) || ':' || count(expired_at) FROM snapshots.builds),
    (SELECT count(*) || ':' || max(held_at) FROM raw.holds)
)
