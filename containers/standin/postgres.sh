#!/bin/sh
# Like the entry point of the image `postgres`: initializes a new volume, then execs the command.
set -eu
export PGDATA="${PGDATA:-/var/lib/postgresql/data}"
if ! [ -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?the password of the user postgres}"
    file=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" >"$file"
    initdb --username=postgres --pwfile="$file" --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8
    rm "$file"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    # Debian's default directory is for its own clusters.
    echo "unix_socket_directories = '/var/run/postgresql'" >>"$PGDATA/postgresql.conf"
fi
exec "$@"
