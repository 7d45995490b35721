#!/bin/sh
# The monitor of one program, as it all began: starts it, and starts it again when it crashes or hangs, or when its
# big red button is pressed.
#
# usage: monitor.sh CMD [ARG ...]     the program beats once a second, by a client library or `treevisor beat`
#
#   examples/monitor.sh examples/arrhythmic.sh
#   treevisor panic /arrhythmic.sh      the button
#   treevisor status                    how it is
[ $# -gt 0 ] || { echo "usage: $0 CMD [ARG ...]" >&2; exit 2; }
exec "${TREEVISOR_EXE:-treevisor}" run --heartbeat 1s --misses 2 --grace 2s -- "$@"
