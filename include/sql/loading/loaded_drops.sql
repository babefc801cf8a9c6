SELECT as_of, revision, digest, files FROM raw.drops
