-- By Postgres' default everybody may connect to every database and make temporary tables there. The owner keeps both.
REVOKE ALL ON DATABASE {database} FROM PUBLIC
