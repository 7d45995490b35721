#!/bin/sh
# nginx on the socket that the supervisor holds, descriptor 3: it takes it by its variable NGINX, which is made for its own upgrades.
set -eu
mkdir -p nginx
sed -e "s/@PORT@/$STACK_PORT/" -e "s,@DIR@,$PWD," nginx.conf > nginx/nginx.conf
NGINX="3;" exec /usr/sbin/nginx -e stderr -p "$PWD/nginx" -c nginx.conf
