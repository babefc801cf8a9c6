#!/bin/sh
# Builds substitutes for the registry's images where no registry can be reached: Debian with Python by debootstrap, and
# Debian's Postgres, Redis, nginx and Prometheus, but no Grafana. Needs root, debootstrap, podman and a mirror of Debian.
# Prints the settings that name them, for the environment of containers/prove.py or for .env.
set -eu
here=$(dirname "$0")
python=localhost/standin-python:3.11-bookworm
bundle=/etc/ssl/certs/ca-certificates.crt

if ! podman image exists "$python"; then
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates bookworm "$root" >&2
    # Copies the machine's CA certificates, which may include those of a proxy.
    [ -f "$bundle" ] && cp "$bundle" "$root$bundle"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    tar -C "$root" -c . | podman import -c "ENV PIP_CERT=$bundle" -c "ENV SSL_CERT_FILE=$bundle" - "$python" >&2
fi
for name in postgres redis nginx prometheus; do
    podman build --format docker --network host --build-arg "BASE=$python" --target "$name" \
        -t "localhost/standin-$name:bookworm" "$here" >&2
done
echo "BASE_IMAGE=$python"
echo "POSTGRES_IMAGE=localhost/standin-postgres:bookworm"
echo "REDIS_IMAGE=localhost/standin-redis:bookworm"
echo "NGINX_IMAGE=localhost/standin-nginx:bookworm"
echo "PROMETHEUS_IMAGE=localhost/standin-prometheus:bookworm"
