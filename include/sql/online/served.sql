SELECT s.build, s.as_of, b.drop_digest, b.code_digest, b.rows, s.published_at
FROM online.served s JOIN online.builds b USING (build)
