UPDATE raw.revisions SET files = %(files)s
WHERE as_of = %(as_of)s AND revision = %(revision)s AND digest = %(digest)s
