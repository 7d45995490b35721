#!/bin/sh
# A chatterbox: writes as fast as it can, for ever. It must neither be blocked by its supervisor, nor make it grow, nor
# drown its siblings' output.
#
# usage: chatty.sh [TEXT]
exec yes "${1:-and another thing: I have so much to tell you that I never stop for breath}"
