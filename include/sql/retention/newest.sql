-- The newest dates that are worked on: of a drop, of a snapshot, and what is served.
SELECT (SELECT max(as_of) FROM raw.drops), (SELECT max(as_of) FROM snapshots.builds), (SELECT as_of FROM online.served)
