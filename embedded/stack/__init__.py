"""The processes on this machine and the Postgres server: start, stop, watch."""
