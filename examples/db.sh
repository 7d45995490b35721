#!/bin/sh
# The database of the shop: takes a moment to open its files, and is then up. Its disk is old: after half a minute or so
# it fails, and with it every program that had an open transaction.
#
# usage: db.sh [SECONDS]          it runs at least this long, and up to twice as long; 20 by default
beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }
below() { od -An -N4 -tu4 /dev/urandom | awk -v n="$1" '{ print $1 % n }'; }

least=${1:-20}
life=$((least + $(below $((least + 1)))))
echo "opening tables"
sleep 1
echo "ready for connections"
age=0
while [ "$age" -lt "$life" ]; do
    beat --status "$((age * 37)) transactions"
    sleep 1
    age=$((age + 1))
done
echo "I/O error on page $(below 4096): giving up before I write nonsense" >&2
exit 3
