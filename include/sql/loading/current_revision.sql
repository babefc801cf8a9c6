SELECT revision, digest, code_digest, validated_at FROM raw.drops WHERE as_of = %(as_of)s
