SELECT max(as_of) FROM raw.drops
