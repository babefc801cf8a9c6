#!/bin/sh
# Starts nginx with the name server of this container, which every engine has at another address.
set -eu
resolver=$(sed -n 's/^nameserver //p' /etc/resolv.conf | head -n 1)
case $resolver in *:*) resolver="[$resolver]" ;; esac
sed "s/RESOLVER/$resolver/" /etc/nginx/churn/nginx.conf >/tmp/nginx.conf
exec nginx -e stderr -c /tmp/nginx.conf -g "daemon off;"
