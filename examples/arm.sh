#!/bin/sh
# One arm of a robot that has two. They carry things together, so when one of them fails the other must put down what it
# holds and begin anew, too: all for one (one-for-all).
#
# usage: arm.sh SIDE [SECONDS]    how long until its servo jams, twice that at most; 0, the default, is never
beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }
below() { od -An -N4 -tu4 /dev/urandom | awk -v n="$1" '{ print $1 % n }'; }

put_down() {
    echo "$side arm: putting it down"
    exit 0
}

side=${1:-left}
life=${2:-0}
[ "$life" -eq 0 ] || life=$((life + $(below $((life + 1)))))
trap put_down TERM
echo "$side arm: homed"
moves=0
while :; do
    moves=$((moves + 1))
    beat --progress "$moves" --status "$moves moves"
    if [ "$moves" -eq "$life" ]; then
        # Jammed: alive, and never to beat again. Only the missing beats tell.
        echo "$side arm: the servo is j" >&2
        sleep 86400
    fi
    sleep 1 &
    wait $!
done
