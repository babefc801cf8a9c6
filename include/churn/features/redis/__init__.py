"""The online store in Redis, behind the interface of the one in Postgres."""
