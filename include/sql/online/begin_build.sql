INSERT INTO online.builds (as_of, drop_digest, code_digest, state)
VALUES (%(as_of)s, %(drop_digest)s, %(code_digest)s, %(state)s)
RETURNING build, begun_at
