SELECT name, sha256 FROM public.churn_migrations
