DELETE FROM snapshots.builds WHERE as_of = %(as_of)s
