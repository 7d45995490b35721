#!/bin/sh
# Limits by cgroup on a real systemd: see README.md. As root, in a machine that may be thrown away.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/kit.sh"
treevisor=/usr/local/bin/treevisor
install -m 755 "$here/treevisor" "$treevisor"
work=$(mktemp -d /tmp/limits.XXXXXX)
chmod 755 "$work"
cd "$work" || exit 1
export TREEVISOR_RUNTIME_DIR="$work/run" TREEVISOR_STATE_DIR="$work/state"
group() { sed -n 's/.*"cgroup": *"\([^"]*\)".*/\1/p' "$TREEVISOR_RUNTIME_DIR/$1/instance.json"; }

hog='["python3", "-c", "x = []\nwhile True: x.append(b\"x\" * 1000000)"]'

# --- a cgroup that is not delegated: this job's own, with a shell in it
cat >plain.toml <<TOML
name = "plain"
[[child]]
name = "db"
command = "sleep 1000"
memory-max = "64M"
TOML
echo "# in a cgroup that is not delegated"
said=$($treevisor check plain.toml 2>&1)
is "check accepts the file" $? 0
says "check warns" "$said" "started from here, the tree would be refused"
said=$($treevisor start plain.toml 2>&1)
is "start refuses" $? 2
says "start says why" "$said" "other processes run in it"
says "start says what delegates" "$said" "Delegate=yes"
sed 's/"64M"/{ value = "64M", best-effort = true }/' plain.toml >soft.toml
$treevisor start --detach --timeout 120s soft.toml >/dev/null 2>&1
is "with best-effort it starts" $? 0
is "status says that the limit is not in force" "$($treevisor status --json | field 'v["root"]["children"][0]["limits"]["not_in_force"]')" "['memory-max']"
$treevisor stop >/dev/null

# --- delegated by systemd
cat >tree.toml <<TOML
name = "tree"
intensity = "unlimited"
memory-high = "80%"
[[child]]
name = "db"
command = "sleep 1000"
memory-max = "64M"
memory-high = "48M"
cpu-max = "150%"
cpu-weight = 50
pids-max = 20
io-weight = 200
[[child]]
name = "hog"
command = $hog
memory-max = "64M"
restart = "temporary"
[[child]]
name = "web"
memory-max = "96M"
pids-max = 8
  [[child.child]]
  name = "sub"
    [[child.child.child]]
    name = "api"
    command = "sleep 1000"
  [[child.child]]
  name = "hog"
  command = $hog
  restart = "temporary"
TOML
echo "# below systemd, with Delegate=yes"
said=$(systemd-run --scope -p Delegate=yes --unit=tree-scope "$treevisor" start --detach --timeout 240s tree.toml 2>&1)
is "start" $? 0
[ -S "$TREEVISOR_RUNTIME_DIR/tree/control" ] || [ -d "$TREEVISOR_RUNTIME_DIR/tree" ] || { printf '%s\n' "$said"; exit 1; }
base=$(group tree)
is "the tree is below the scope" "${base%/treevisor-tree-*}" /sys/fs/cgroup/system.slice/tree-scope.scope
for pair in memory.max=67108864 memory.high=50331648 "cpu.max=150000 100000" cpu.weight=50 pids.max=20 "io.weight=default 200" memory.oom.group=1; do
    is "db ${pair%%=*}" "$(cat "$base/c.db/${pair%%=*}")" "${pair#*=}"
done
is "web memory.max" "$(cat "$base/c.web/below/memory.max")" 100663296
is "web pids.max" "$(cat "$base/c.web/below/pids.max")" 8
is "the supervisor of web is beside its limit" "$(cat "$base/c.web/node/cgroup.procs")" "$($treevisor status --json /web | field 'v["root"]["pid"]')"
is "the root's limit is a part of the machine's" "$(cat "$base/memory.high")" "$(awk '/MemTotal/ { n = $2 * 1024 * 8000 / 10000; n = int(n / 4096) * 4096; printf "%d", n }' /proc/meminfo)"
until_done 60 sh -c "$treevisor events --json /hog | grep -q '\"kind\":\"exited\"'" || not_ok "hog is ended"
is "hog: the event says so" "$(events /hog exited '(v["oom_killed"], v["memory_limit"]["bytes"], v["memory_limit"]["of"])')" "(True, 67108864, '/hog')"
is "hog: its peak" "$(events /hog exited '60000000 < v["usage"]["peak_memory_bytes"] <= 67108864')" True
is "hog: last exit" "$($treevisor status --json | field '[c["last_exit"]["oom_killed"] for c in v["root"]["children"] if c["name"] == "hog"][0]')" True
said=$($treevisor why /hog 2>&1)
says "hog: why" "$said" "memory-max of /hog: 64.0 MiB"
printf '%s\n' "$said" | sed 's/^/    /'
until_done 60 sh -c "$treevisor events --json /web/hog | grep -q '\"kind\":\"exited\"'" || not_ok "web/hog is ended"
is "web/hog: the supervisor's limit" "$(events /web/hog exited '(v["oom_killed"], v["memory_limit"]["bytes"], v["memory_limit"]["of"])')" "(True, 100663296, '/web')"
$treevisor wait /web/sub/api --until running --timeout 60s >/dev/null
is "its supervisors and siblings go on" "$($treevisor status --json | field '[c["restarts"] for c in v["root"]["children"] + v["root"]["children"][2]["children"]]')" "[0, 0, 0, 0, 0]"
says "status shows an end for want of memory" "$($treevisor status)" "cgroup out of memory"

echo "# reload"
pid=$($treevisor status --json | field 'v["root"]["children"][0]["pid"]')
sed -e '0,/memory-max = "64M"/s//memory-max = "128M"/' -e '/^io-weight/d' -e 's/memory-max = "96M"/memory-max = "256M"/' -e '/^memory-high = "80%"/d' tree.toml >tree2.toml
said=$($treevisor reload --plan tree2.toml 2>&1)
printf '%s\n' "$said" | sed 's/^/    /'
says "the plan: in place" "$said" "memory-max"
$treevisor reload tree2.toml >/dev/null
is "reload" $? 0
is "db memory.max" "$(cat "$base/c.db/memory.max")" 134217728
is "db io.weight is as if it had never been set" "$(cat "$base/c.db/io.weight")" "default 100"
is "web memory.max" "$(cat "$base/c.web/below/memory.max")" 268435456
is "the root's memory.high" "$(cat "$base/memory.high")" max
is "nothing was restarted" "$($treevisor status --json | field 'v["root"]["children"][0]["pid"]')" "$pid"

echo "# add: a child with limits, deep in the tree"
cat >fork.toml <<'TOML'
[[child]]
name = "fork"
command = ["sh", "-c", "(for n in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done); exec sleep 1000"]
restart = "temporary"
pids-max = 5
io-weight = 300
TOML
# In an emulator a supervisor may need longer to reply than it is waited for.
until_done 20 $treevisor add /web/sub fork.toml || not_ok "add"
is "fork io.weight" "$(cat "$base/c.web/below/c.sub/below/c.fork/io.weight")" "default 300"
until_done 60 grep -q "max [1-9]" "$base/c.web/below/c.sub/below/c.fork/pids.events" && ok "forks beyond pids-max are refused" || not_ok "forks beyond pids-max are refused"
kill -KILL "$($treevisor status --json /web/sub/fork | field 'v["root"]["pid"]')"
until_done 60 sh -c "$treevisor events --json /web/sub/fork | grep -q '\"kind\":\"exited\"'" || not_ok "the end of fork"
is "its exit tells of it" "$(events /web/sub/fork exited 'v.get("forks_refused", 0) > 0')" True
says "why tells of it" "$($treevisor why /web/sub/fork)" "its \`pids-max\` was reached"
$treevisor stop >/dev/null
[ -e "$base" ] && not_ok "the tree's cgroups are left" || ok "the tree's cgroups are gone"

echo "# the first limit comes by reload"
printf 'name = "late"\n[[child]]\nname = "a"\ncommand = "sleep 1000"\n' >late.toml
systemd-run --scope -p Delegate=yes --unit=late-scope "$treevisor" start --detach --timeout 120s late.toml >/dev/null 2>&1
base=$(group late)
pid=$($treevisor status --json | field 'v["root"]["children"][0]["pid"]')
[ -e "$base/c.a/memory.max" ] && not_ok "no controller before there is a limit" || ok "no controller before there is a limit"
printf 'memory-max = "32M"\ncpu-weight = 7\n' >>late.toml
$treevisor reload >/dev/null
is "reload" $? 0
is "memory.max" "$(cat "$base/c.a/memory.max")" 33554432
is "cpu.weight" "$(cat "$base/c.a/cpu.weight")" 7
is "it was not restarted" "$($treevisor status --json | field 'v["root"]["children"][0]["pid"]')" "$pid"
is "root and keeper sit aside" "$(wc -l <"${base%/*}/treevisor/cgroup.procs")" 2
$treevisor stop >/dev/null
unset TREEVISOR_RUNTIME_DIR TREEVISOR_STATE_DIR

echo "# the shipped unit"
install -d -o shop /srv/shop /etc/treevisor
install -m 755 "$here/treevisor" /usr/bin/treevisor
cat >/etc/treevisor/shop.toml <<TOML
name = "shop"
intensity = "unlimited"
[[child]]
name = "db"
command = "sleep 1000"
memory-max = "64M"
cpu-max = 0.5
[[child]]
name = "hog"
command = $hog
restart = "temporary"
memory-max = "48M"
TOML
cp "$here/treevisor@.service" /etc/systemd/system/
unit=treevisor@shop.service
mkdir -p "/etc/systemd/system/$unit.d"
printf '[Service]\nUser=shop\n' >"/etc/systemd/system/$unit.d/user.conf"
systemctl daemon-reload
systemctl start "$unit"
is "systemctl start" $? 0
base=$(find /sys/fs/cgroup/system.slice -name 'treevisor-shop-*')
is "db memory.max" "$(cat "$base/c.db/memory.max")" 67108864
is "db cpu.max" "$(cat "$base/c.db/cpu.max")" "50000 100000"
in_shop() { runuser -u shop -- env TREEVISOR_RUNTIME_DIR=/run/treevisor TREEVISOR_STATE_DIR=/var/lib/treevisor "$treevisor" "$@"; }
until_done 60 sh -c "journalctl -u $unit | grep -q 'memory-max of /hog'" || not_ok "the journal tells of the hog"
says "why" "$(in_shop why /hog 2>&1)" "memory-max of /hog: 48.0 MiB"
is "the service goes on" "$(systemctl is-active "$unit")" active
sed -i 's/64M/96M/' /etc/treevisor/shop.toml
systemctl reload "$unit"
until_done 30 sh -c "grep -qx 100663296 $base/c.db/memory.max" && ok "systemctl reload changes the limit" || not_ok "systemctl reload changes the limit"
systemctl restart "$unit"
is "systemctl restart" $? 0
systemctl stop "$unit"
is "systemctl stop" "$(systemctl is-failed "$unit")" inactive
[ "$failed" = 0 ] || journalctl -u "$unit" | tail -n 30

echo "# a user's session"
loginctl enable-linger shop
until_done 60 test -S /run/user/"$(id -u shop)"/bus || not_ok "the user's manager is up"
cat >/srv/shop/own.toml <<'TOML'
name = "own"
[[child]]
name = "db"
command = "sleep 1000"
memory-max = "64M"
pids-max = "1%"
cpu-weight = 20
TOML
own() { runuser -u shop -- env XDG_RUNTIME_DIR="/run/user/$(id -u shop)" DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$(id -u shop)/bus" HOME=/home/shop "$@"; }
said=$(own systemd-run --user --scope -p Delegate=yes "$treevisor" start --detach --timeout 120s /srv/shop/own.toml 2>&1)
is "systemd-run --user --scope" $? 0
base=$(find "/sys/fs/cgroup/user.slice/user-$(id -u shop).slice" -name 'treevisor-own-*' | head -n 1)
is "db memory.max" "$(cat "$base/c.db/memory.max")" 67108864
is "db cpu.weight" "$(cat "$base/c.db/cpu.weight")" 20
says "status says what is missing" "$(own "$treevisor" status --json | field 'v["controllers"]')" "'io'"
own "$treevisor" status --json | field 'v["controllers"]' | sed 's/^/    /'
echo 'io-weight = 50' >>/srv/shop/own.toml
said=$(own "$treevisor" reload 2>&1)
is "a limit without its controller is refused by reload" $? 2
says "and why" "$said" 'it needs the `io` controller'
own "$treevisor" stop >/dev/null

exit $failed
