#!/bin/sh
# A livelock: busy, beating, and getting nowhere. The beats come on time, but the progress counter stands still although
# work is waiting; with `progress = true` that is as bad as silence.
#
# usage: livelock.sh [TURNS]      turns of honest work before it locks; 3 by default
#
#   heartbeat = { interval = "1s", misses = 3, progress = true }
beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }

honest=${1:-3}
progress=0
while :; do
    if [ "$progress" -lt "$honest" ]; then
        progress=$((progress + 1))
        [ "$progress" -ne "$honest" ] || echo "after you. - no, after you!"
    fi
    beat --progress "$progress" --pending 7 --status "so busy"
    sleep 0.5
done
