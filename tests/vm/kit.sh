# What the tests in this directory have in common; they read it in.
failed=0

ok() { echo "ok - $1"; }
not_ok() { echo "NOT OK - $1"; failed=1; }
# says WHAT TEXT WORDS: the text has the words.
says() {
    case $2 in
        *"$3"*) ok "$1" ;;
        *) not_ok "$1: \"$3\" is not in:"; printf '%s\n' "$2" | sed 's/^/    /' ;;
    esac
}
# is WHAT VALUE RIGHT
is() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1: it is \"$2\" and should be \"$3\""; fi; }
# field EXPRESSION: of the JSON on stdin, in Python's words; v is the value.
field() { python3 -c "import json,sys; v=json.load(sys.stdin); print($1)"; }
# events PATH KIND EXPRESSION: of the last event of this kind.
events() { $treevisor events --json "$1" | python3 -c "
import json,sys
v=[e for e in map(json.loads, sys.stdin) if e['kind'] == '$2'][-1]
print($3)"; }
# until_done SECONDS COMMAND...
until_done() {
    left=$1
    shift
    while ! "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || return 1
        sleep 1
    done
}
