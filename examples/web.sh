#!/bin/sh
# A front end of the shop: serves customers, more or less quickly, and logs it now and then.
#
# usage: web.sh [WHAT]            what it serves, "page" by default
beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }
below() { od -An -N4 -tu4 /dev/urandom | awk -v n="$1" '{ print $1 % n }'; }

what=${1:-page}
served=0
echo "open"
while :; do
    served=$((served + $(below 9)))
    [ "$(below 12)" -ne 0 ] || echo "served $served ${what}s"
    beat --progress "$served" --status "$served ${what}s"
    sleep 1
done
