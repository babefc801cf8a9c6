"""The online store in Redis, with the same interface as the one in Postgres."""
