#!/bin/sh
# A bad parent: forks children that ignore SIGTERM, and exits without them.
#
# usage: forker.sh [CHILDREN] [SECONDS]     how many (3), and when it leaves them (after 2 seconds)
beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }

number=0
while [ "$number" -lt "${1:-3}" ]; do
    number=$((number + 1))
    # What is ignored stays ignored through exec.
    ( trap '' TERM; exec sleep 86400 ) &
    echo "child $!"
done

echo "worker $$"
left=${2:-2}
while [ "$left" -gt 0 ]; do
    beat
    sleep 1
    left=$((left - 1))
done
exit 1
