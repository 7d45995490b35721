#!/bin/sh
# A systemd service as it is: reports when it is ready, beats in half of the watchdog's time, shows what it does. By
# systemd-notify where there is one, else by treevisor. Independent of the tree that it runs in.
#
# usage: notify.sh [BEATS]        hangs after so many beats; never by default
say() {
    if command -v systemd-notify >/dev/null; then
        systemd-notify "$@"
    else
        "${TREEVISOR_EXE:-treevisor}" notify "$@"
    fi
}

sleep 1
say READY=1 STATUS=serving
beats=0
while [ "$beats" -ne "${1:--1}" ]; do
    beats=$((beats + 1))
    say WATCHDOG=1 STATUS="$beats requests served"
    sleep 1
done
say STATUS="this one takes for ever"
exec sleep 100000
