#!/bin/sh
# Short-lived: works, then fails.
#
# usage: crashy.sh [SECONDS] [HOW]    when (5), and with which exit status (1) or by which signal ("SEGV", "ABRT" ...)
ulimit -c 0
beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }

left=${1:-5}
while [ "$left" -gt 0 ]; do
    beat --status "$left to go"
    sleep 1
    left=$((left - 1))
done
echo "goodbye, cruel world" >&2
case ${2:-1} in
    [0-9]*) exit "${2:-1}" ;;
    *) kill -s "$2" $$ ;;
esac
