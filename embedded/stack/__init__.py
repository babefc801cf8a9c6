"""Starts, stops and watches the processes and the Postgres server on this machine."""
