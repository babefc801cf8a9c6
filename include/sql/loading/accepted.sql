SELECT EXISTS (
    SELECT FROM raw.revisions WHERE as_of = %(as_of)s AND digest = %(digest)s AND withdrawn_at IS NULL
)
