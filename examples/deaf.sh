#!/bin/sh
# Deaf: ignores every signal that asks it to stop. Only SIGKILL helps, which its supervisor sends when the child's
# `shutdown` time is over. It beats, so it does not count as hung.
trap '' TERM INT HUP QUIT USR1 USR2
beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }

echo "deaf, with process id $$"
while :; do
    beat --status "la la la"
    sleep 1
done
