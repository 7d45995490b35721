#!/bin/sh
# The big red button, for an operator without time for options: kills a part of a running tree, hung or not, and
# its supervisor starts it afresh.
#
# usage: panic-button.sh PATH [INSTANCE]        such as: panic-button.sh /lab/hearts
if [ $# -lt 1 ]; then
    echo "usage: $0 PATH [INSTANCE]" >&2
    exit 2
fi
path=$1
[ $# -lt 2 ] || { TREEVISOR_INSTANCE=$2 && export TREEVISOR_INSTANCE; }
exec "${TREEVISOR_EXE:-treevisor}" panic "$path"
