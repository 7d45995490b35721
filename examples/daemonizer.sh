#!/bin/sh
# A daemon in disguise: leaves a process behind that has forked twice and leads a session of its own, as daemons did
# before there were supervisors. Neither a signal to the worker nor one to its process group reaches it, and yet nothing
# of a child may be left when it has ended.
#
# usage: daemonizer.sh [SECONDS]  after that long the worker itself fails; by default it stays
beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }

# The subshell forks and ends at once, so the daemon is an orphan; setsid gives it a session.
( setsid sh -c 'echo "daemon $$"; exec sleep 86400 </dev/null >/dev/null 2>&1' & )

echo "worker $$"
left=${1:--1}
while [ "$left" -ne 0 ]; do
    beat
    sleep 1
    left=$((left - 1))
done
exit 1
