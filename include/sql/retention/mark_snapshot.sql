UPDATE snapshots.builds SET expired_at = now() WHERE as_of = %(as_of)s
