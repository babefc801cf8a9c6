INSERT INTO public.churn_migrations (name, sha256) VALUES (%(name)s, %(sha256)s)
