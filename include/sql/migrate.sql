-- name: applied
SELECT name, sha256 FROM public.churn_migrations

-- name: create_table
CREATE TABLE IF NOT EXISTS public.churn_migrations (
    name       text        PRIMARY KEY,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: record
INSERT INTO public.churn_migrations (name, sha256) VALUES (%(name)s, %(sha256)s)
