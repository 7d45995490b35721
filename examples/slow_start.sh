#!/bin/sh
# A slow starter: alive at once, of use only later. With `ready = "heartbeat"` the siblings after it wait for its first
# beat, and with a `start-timeout` that is too short it never gets that far.
#
# usage: slow_start.sh [SECONDS]  how long it takes to warm up; 3 by default
beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }

echo "warming up"
sleep "${1:-3}"
echo "ready"
beat --ready
while :; do
    sleep 1
    beat
done
