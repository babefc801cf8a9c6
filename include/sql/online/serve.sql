INSERT INTO online.served (build, as_of) VALUES (%(build)s, %(as_of)s)
ON CONFLICT (one) DO UPDATE SET build = EXCLUDED.build, as_of = EXCLUDED.as_of, published_at = now()
