#!/bin/sh
# Installs what the stack is made of, on Debian or Ubuntu. Nothing is started: the servers of the distribution stay off.
set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    postgresql redis-server nginx-light gunicorn python3-psycopg2 python3-redis
