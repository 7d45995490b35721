#!/bin/sh
# The cache of the shop: filled from the database when it starts. It cannot know when that was replaced by an emptier
# one, which is why the shop restarts it together with the database (rest-for-one).
beat() { "${TREEVISOR_EXE:-treevisor}" beat "$@"; }

filled=0
while :; do
    [ "$filled" -ge 100 ] || filled=$((filled + 20))
    [ "$filled" -ne 100 ] || { echo "warm"; filled=101; }
    beat --progress "$filled" --pending 0 --status "warm"
    sleep 1
done
