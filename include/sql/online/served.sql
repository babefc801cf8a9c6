SELECT s.build, s.as_of, b.drop_digest, b.code_digest, b.rows
FROM online.served s JOIN online.builds b USING (build)
