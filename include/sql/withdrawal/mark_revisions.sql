-- All of them: an _ACCEPT that was written before now was written for what is taken back.
UPDATE raw.revisions SET withdrawn_at = %(withdrawn_at)s WHERE as_of = %(as_of)s
