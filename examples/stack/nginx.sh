#!/bin/sh
# nginx on the socket that the supervisor holds, descriptor 3: it takes it by its variable NGINX, which is made for its own upgrades.
set -eu
mkdir -p run/nginx
sed -e "s/@PORT@/$STACK_PORT/" -e "s,@DIR@,$PWD," nginx.conf > run/nginx/nginx.conf
NGINX="3;" exec /usr/sbin/nginx -e stderr -p "$PWD/run/nginx" -c nginx.conf
