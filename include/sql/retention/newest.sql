-- The newest dates that are worked on: of a drop, and of a snapshot.
SELECT (SELECT max(as_of) FROM raw.drops), (SELECT max(as_of) FROM snapshots.builds)
