#!/bin/sh
# PostgreSQL with its data below data/, on a UNIX socket in sockets/. The cluster is made at the first start.
set -eu
PATH=$PATH:$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
mkdir -p sockets
if [ ! -e data/PG_VERSION ]; then
    rm -rf data.new
    initdb --auth=trust --username=stack --no-sync data.new > /dev/null
    mv data.new data
fi
exec postgres -D data -c listen_addresses= -c unix_socket_directories="$PWD/sockets"
