#!/bin/sh
# Arrhythmia: a worker whose heart cannot keep time.
#
# The worker that treevisor was first made for. Each turn of its loop takes a random time of up to three intervals, then
# it beats; and in one turn out of ten it crashes with a segmentation fault. Its supervisor takes the long pauses for a hang
# and the crash for what it is, and starts it again in both cases.
#
#   heartbeat = { interval = "1s", misses = 2 }
ulimit -c 0     # The crashes are on purpose; their core files are not wanted.

beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }

# A random number below $1.
below() { od -An -N4 -tu4 /dev/urandom | awk -v n="$1" '{ print $1 % n }'; }

interval=${TREEVISOR_HEARTBEAT_MS:-1000}
turn=0
while :; do
    nap=$(below $((3 * interval)))
    [ "$nap" -le $((2 * interval)) ] || echo "oh, I feel weak ..."
    sleep "$(awk -v ms="$nap" 'BEGIN { printf "%.3f", ms / 1000 }')"
    if [ "$(below 10)" -eq 0 ]; then
        echo "my heart!" >&2
        kill -s SEGV $$
    fi
    turn=$((turn + 1))
    beat --status "turn $turn"
done
