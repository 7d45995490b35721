#!/bin/sh
# A deadlock: beats for a while, then never again. The process is alive, holds its memory and its sockets, and does
# nothing; an exit status will never come.
#
# usage: hang.sh [BEATS]          beats before it hangs; 3 by default
beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }

left=${1:-3}
while [ "$left" -gt 0 ]; do
    beat
    sleep 0.5
    left=$((left - 1))
done
echo "waiting for myself"
exec sleep 86400
