-- Not one that was held again meanwhile.
DELETE FROM raw.holds WHERE as_of = %(as_of)s AND held_at = %(held_at)s
