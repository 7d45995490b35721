#!/bin/sh
# A hot upgrade below a real systemd, by hand and by package: see README.md. As root, in a machine that may be thrown away.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/kit.sh"
treevisor=/usr/bin/treevisor
unit=treevisor@shop.service
export TREEVISOR_RUNTIME_DIR=/run/treevisor TREEVISOR_STATE_DIR=/var/lib/treevisor TREEVISOR_INSTANCE=shop
old=$here/treevisor-old
[ -e "$old" ] || old=$here/treevisor
work=$(mktemp -d /tmp/upgrade.XXXXXX)
cd "$work" || exit 1

# package VERSION BINARY: of treevisor.deb, with another version and another program. Prints its name.
package() {
    [ -d unpacked ] || dpkg-deb -R "$here/treevisor.deb" unpacked
    sed -i "s/^Version: .*/Version: $1/" unpacked/DEBIAN/control
    cp --remove-destination "$2" unpacked/usr/bin/treevisor
    chmod 755 unpacked/usr/bin/treevisor
    dpkg-deb --root-owner-group -Znone -b unpacked "treevisor_$1.deb" >/dev/null && echo "treevisor_$1.deb"
}
# installs WHAT FILE: and leaves in $said what was printed.
installs() {
    said=$(dpkg -i "$2" 2>&1)
    is "$1: dpkg" $? 0
    printf '%s\n' "$said" | sed -n '/^Setting up/,$p' | sed 's/^/    /'
    is "$1: the package is installed" "$(dpkg-query -W -f '${Status}' treevisor)" "install ok installed"
}
# look INSTANCE: path, process, incarnation and restarts of everything in the tree.
look() { TREEVISOR_INSTANCE=$1 $treevisor status --json | python3 -c "
import json, sys
def walk(node):
    print(node['path'], node['pid'], node['incarnation'], node['restarts'])
    for child in node.get('children', []):
        walk(child)
walk(json.load(sys.stdin)['root'])"; }
# all INSTANCE: the same, when every supervisor has replied: in an emulator one may need longer than it is waited for.
all() {
    left=60
    while looked=$(look "$1"); case $looked in *None*) true ;; *) false ;; esac && [ $left -gt 0 ]; do
        left=$((left - 1))
        sleep 1
    done
    printf '%s\n' "$looked"
}
# exes INSTANCE: the programs of its supervisors, each once.
exes() {
    for pid in $(TREEVISOR_INSTANCE=$1 $treevisor status --json | python3 -c "
import json, sys
def walk(node):
    if 'children' in node:
        print(node['pid'])
    for child in node.get('children', []):
        walk(child)
walk(json.load(sys.stdin)['root'])"); do readlink "/proc/$pid/exe"; done | sort -u
}
shown() { systemctl show "$unit" -p MainPID,NRestarts,ActiveState,SubState,InvocationID,ActiveEnterTimestampMonotonic,Result; }
fed() { systemctl show -P WatchdogTimestampMonotonic "$unit"; }
fed_after() { [ "$(fed)" -gt "$1" ]; }
# Of the whole run, as systemd has it: what the root reported, and what systemd did.
journal() { journalctl -o cat -u "$unit"; }
reported() { journal | grep -c "Got notification message from PID $root (.*$1"; }
# untouched WHAT: neither systemd nor the tree has restarted anything.
untouched() {
    now=$(all shop)
    is "$1: every process, incarnation and count of restarts is the same" "$now" "$tree"
    tree=$now
    is "$1: the service is as before, with the same main process" "$(shown)" "$service"
}
# An emulator may need longer than a rehearsal may take: then the tree is asked again.
asked_again() {
    case $said in *"it was not done within 10 s"*) said=$($treevisor upgrade 2>&1) ;; esac
}
numbers_are_whole() { # each line of the ticker once, in order
    python3 - <<'PY'
import re, subprocess, sys
text = subprocess.run(["journalctl", "-o", "cat", "-u", "treevisor@shop.service"], capture_output=True, text=True).stdout
numbers = [int(found) for found in re.findall(r"tick (\d+)$", text, re.M)]
sys.exit(not numbers or numbers != list(range(1, len(numbers) + 1)))
PY
}

hog='["python3", "-c", "x = []\nwhile True: x.append(b\"x\" * 1000000)"]'
install -d /etc/treevisor
cat >/etc/treevisor/shop.toml <<TOML
intensity = "unlimited"
[[child]]
name = "db"
command = "sleep 100000"
memory-max = "64M"
cpu-weight = 50
[[child]]
name = "ticks"
command = ["python3", "-u", "-c", "import time\nn = 0\nwhile True:\n n += 1\n print('tick', n)\n time.sleep(0.2)"]
[[child]]
name = "web"
memory-max = "96M"
pids-max = 20
  [[child.child]]
  name = "api"
  command = ["sh", "-c", "treevisor notify READY=1; while :; do treevisor notify WATCHDOG=1; sleep 2; done"]
  ready = "notify"
  heartbeat = { source = "notify", interval = "10s", misses = 3 }
  [[child.child]]
  name = "sub"
    [[child.child.child]]
    name = "job"
    command = "sleep 100000"
TOML
cat >/etc/treevisor/plain.toml <<TOML
[[child]]
name = "a"
command = "sleep 100000"
TOML
mkdir -p "/etc/systemd/system/$unit.d"
printf '[Service]\nUser=shop\nWatchdogSec=20\nTimeoutStartSec=400\n' >"/etc/systemd/system/$unit.d/user.conf"
mkdir -p /etc/systemd/system/treevisor@plain.service.d
printf '[Service]\nWatchdogSec=0\n' >/etc/systemd/system/treevisor@plain.service.d/watchdog.conf

echo "# version 1 is installed, and two trees are started: one of a user's, one of root's"
installs "version 1" "$(package 0.0.1 "$old")"
systemctl log-level debug
systemctl start "$unit" treevisor@plain
is "systemctl start" $? 0
root=$(systemctl show -P MainPID "$unit")
base=$(find /sys/fs/cgroup/system.slice -name 'treevisor-shop-*')
is "the containment" "$($treevisor status --json | field 'v["containment"]')" cgroup
is "memory.max of a worker" "$(cat "$base/c.db/memory.max")" 67108864
is "the root's user" "$(stat -c %U "/proc/$root")" shop
service=$(shown)
printf '%s\n' "$service" | sed 's/^/    /'
tree=$(all shop)
printf '%s\n' "$tree" | sed 's/^/    /'
plain=$(all plain)

echo "# version 2 is installed"
before=$(fed)
installs "version 2" "$(package 0.0.2 "$here/treevisor")"
says "version 2: the outcome" "$said" "shop: 3 supervisors upgraded from"
says "version 2: the outcome of the other tree" "$said" "plain: 1 supervisor upgraded from"
untouched "version 2"
is "version 2: the other tree" "$(all plain)" "$plain"
is "version 2: it runs everywhere" "$(exes shop) $(exes plain)" "/usr/bin/treevisor /usr/bin/treevisor"
is "version 2: nothing has the old program open" "$(find /proc/[0-9]*/exe -lname '/usr/bin/treevisor*deleted*' 2>/dev/null)" ""
until_done 60 sh -c "journalctl -o cat -u $unit | grep -q 'RELOADING=1'" || not_ok "systemd has RELOADING=1"
is "version 2: systemd receives RELOADING=1 once" "$(reported RELOADING=1)" 1
is "version 2: and READY=1 once more" "$(reported READY=1)" 2
is "version 2: systemctl status" "$(systemctl is-active "$unit")" active
until_done 90 fed_after "$before" && ok "version 2: the watchdog is fed on" || not_ok "version 2: the watchdog is fed on"
is "version 2: memory.max" "$(cat "$base/c.db/memory.max") $(cat "$base/c.web/below/memory.max")" "67108864 100663296"
is "version 2: cpu.weight" "$(cat "$base/c.db/cpu.weight")" 50
is "version 2: the supervisor of web is beside its limit" "$(cat "$base/c.web/node/cgroup.procs")" "$($treevisor status --json /web | field 'v["root"]["pid"]')"
numbers_are_whole && ok "version 2: every line is in the journal once, in order" || not_ok "version 2: every line is in the journal once, in order"

echo "# what the unit does goes on: reload, limits"
sed -i 's/"64M"/"80M"/' /etc/treevisor/shop.toml
cat >>/etc/treevisor/shop.toml <<TOML
[[child]]
name = "hog"
command = $hog
memory-max = "48M"
restart = "temporary"
TOML
systemctl reload "$unit"
is "systemctl reload" $? 0
is "memory.max after it" "$(cat "$base/c.db/memory.max")" 83886080
until_done 90 sh -c "$treevisor events --json /hog | grep -q '\"kind\":\"exited\"'" || not_ok "the hog is ended"
is "the hog was ended at its limit" "$(events /hog exited '(v["oom_killed"], v["memory_limit"]["bytes"])')" "(True, 50331648)"
sed -i '/^name = "hog"/,$d' /etc/treevisor/shop.toml
sed -i '$d' /etc/treevisor/shop.toml
systemctl reload "$unit"
is "systemctl reload, without the hog" $? 0
tree=$(all shop)

echo "# by hand, five times"
for round in 1 2 3 4 5; do
    said=$($treevisor upgrade 2>&1)
    is "upgrade $round" $? 0
    printf '%s\n' "$said" | tail -n 1 | sed 's/^/    /'
done
untouched "by hand"
is "by hand: RELOADING=1, with that of systemctl reload if it was sent" "$(($(reported RELOADING=1) >= 6))" 1
numbers_are_whole && ok "by hand: every line once" || not_ok "by hand: every line once"

echo "# by the signal"
mark=$(journal | grep -c 'supervisors upgraded')
systemctl kill --kill-whom=main --signal=SIGUSR2 "$unit"
until_done 90 sh -c "[ \$(journalctl -o cat -u $unit | grep -c 'supervisors upgraded') -gt $mark ]" && ok "SIGUSR2" || not_ok "SIGUSR2"
untouched "SIGUSR2"

echo "# a program that is refused: set-id"
dpkg-statoverride --add root root 4755 /usr/bin/treevisor
installs "set-id" "$(package 0.0.3 "$here/treevisor")"
says "set-id: why" "$said" "is set-id"
says "set-id: what to type" "$said" "To upgrade it later: TREEVISOR_RUNTIME_DIR=/run/treevisor treevisor upgrade -i shop"
untouched "set-id"
dpkg-statoverride --remove /usr/bin/treevisor
chmod 755 /usr/bin/treevisor
said=$(env -u TREEVISOR_RUNTIME_DIR -u TREEVISOR_INSTANCE sh -c "$(printf '%s\n' "$said" | sed -n 's/.*To upgrade it later: \(.*-i shop\)$/\1/p')" 2>&1)
is "set-id: what is to be typed does it" $? 0
printf '%s\n' "$said" | sed 's/^/    /'
untouched "set-id, mended"

echo "# where the administrator has forbidden it"
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
installs "policy-rc.d" "$(package 0.0.4 "$here/treevisor")"
says "policy-rc.d: the outcome" "$said" "shop: not upgraded, as policy-rc.d does not allow it"
is "policy-rc.d: the old program runs" "$(exes shop)" "/usr/bin/treevisor (deleted)"
untouched "policy-rc.d"
rm /usr/sbin/policy-rc.d

echo "# a tree whose root stands still"
kill -STOP "$(systemctl show -P MainPID treevisor@plain)"
installs "a root that hangs" "$(package 0.0.5 "$here/treevisor")"
says "a root that hangs: the others" "$said" "shop: 3 supervisors upgraded from"
says "a root that hangs: why" "$said" 'cannot upgrade / of "plain": the root does not answer'
says "a root that hangs: what to type" "$said" "plain: no worker was touched"
kill -CONT "$(systemctl show -P MainPID treevisor@plain)"
untouched "a root that hangs"

echo "# a supervisor that cannot be restored goes back"
if [ -e "$here/treevisor-debug" ]; then
    printf '[Service]\nEnvironment="TV_TEST_UPGRADE=/web restored panic"\n' >"/etc/systemd/system/$unit.d/fault.conf"
    dpkg -i "$(package 0.0.6 "$here/treevisor-debug")" >/dev/null 2>&1
    systemctl daemon-reload
    systemctl restart "$unit"
    tree=$(all shop) service=$(shown) root=$(systemctl show -P MainPID "$unit")
    installs "goes back" "$(package 0.0.7 "$here/treevisor-debug")"
    asked_again
    says "goes back: which, and why" "$said" "/web: failed, still"
    says "goes back: what was kept" "$said" "/web/sub: kept at"
    untouched "goes back"
    printf '[Service]\nEnvironment="TV_TEST_UPGRADE=/ restored abort"\n' >"/etc/systemd/system/$unit.d/fault.conf"
    systemctl daemon-reload
    systemctl restart "$unit"
    tree=$(all shop) service=$(shown) root=$(systemctl show -P MainPID "$unit") before=$(fed)
    installs "the root goes back" "$(package 0.0.8 "$here/treevisor-debug")"
    asked_again
    says "the root goes back: why" "$said" "SIGABRT"
    untouched "the root goes back"
    is "the root goes back: RELOADING=1 and READY=1" "$(reported RELOADING=1) $(reported READY=1)" "1 2"
    until_done 90 fed_after "$before" && ok "the root goes back: the watchdog is fed on" || not_ok "the root goes back: the watchdog is fed on"
    rm "/etc/systemd/system/$unit.d/fault.conf"
    dpkg -i treevisor_0.0.5.deb >/dev/null 2>&1
    systemctl daemon-reload
    systemctl restart "$unit"
else
    echo "    left out: there is no treevisor-debug"
fi

echo "# the watchdog still bites"
root=$(systemctl show -P MainPID "$unit")
$treevisor upgrade >/dev/null 2>&1
is "upgrade" $? 0
kill -STOP "$root"
until_done 120 sh -c "[ \$(systemctl show -P NRestarts $unit) = 1 ]" && ok "a root that hangs after an upgrade is restarted" || not_ok "a root that hangs after an upgrade is restarted"
says "by the watchdog" "$(journal)" "Watchdog timeout"
until_done 200 $treevisor status --fail-unless-up && ok "and the tree is up again" || not_ok "and the tree is up again"

[ "$failed" = 0 ] || $treevisor events | grep -v "upgraded to" | tail -n 150
echo "# the package is removed"
dpkg --purge treevisor >/dev/null 2>&1
is "purge" $? 0
is "the tree has ended in order" "$(systemctl show -P ActiveState "$unit")" inactive
is "nothing is left" "$(ps -u shop -o args= | grep -v systemd | grep -v sd-pam)" ""
exit $failed
