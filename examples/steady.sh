#!/bin/sh
# No vice at all: does a piece of visible work, beats, and stops when it is asked to.
#
# usage: steady.sh [WHAT]         what it says it does pieces of, "work" by default
beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }

# A trap runs when the command in the foreground has ended: so the loop waits for a sleep in the background, which a
# signal interrupts at once.
stop() {
    echo "asked to stop after $done pieces of ${what}, bye"
    kill "$nap" 2>/dev/null
    exit 0
}

what=${1:-work}
done=0
nap=
trap stop TERM INT
echo "here, with process id $$"
while :; do
    done=$((done + 1))
    [ $((done % 10)) -ne 1 ] || echo "$what: piece $done"
    beat --progress "$done" --status "$done pieces of $what"
    sleep 1 &
    nap=$!
    wait "$nap"
done
