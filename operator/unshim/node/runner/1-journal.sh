#!/bin/sh
# unshim's runner: carries one run out on this node, and takes it back.
#
# It lives in /var/lib/unshim/<run>/ beside the steps it runs, and needs only a POSIX shell,
# coreutils, util-linux and systemd. Each effect is announced in the journal, on disk, before it
# happens. The run ends when somebody creates the verdict: `confirm` (the operator, with proof) or
# `rollback` (the operator, the dead-man timer, a failed step, or a reboot). The first one wins.
#
# Exit codes: 0 done, 1 a step or an undo failed, 64 wrong use, 75 another process is at work or a
# newer operator has been here, 76 another run is unfinished on this node, 77 the other verdict won.
set -u
umask 022
export LC_ALL=C
trap '' HUP PIPE # whoever called may be gone; what we have begun does not depend on it
PATH=${UNSHIM_PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
export PATH

here=$(cd "$(dirname "$0")" && pwd -P)
run=${here##*/}
base=${here%/*}
units=${UNSHIM_UNITS:-/etc/systemd/system}
root=${UNSHIM_ROOT:-}
recover_unit=unshim-recover.service
going_back=
export UNSHIM_RUN_DIR="$here" UNSHIM_BOOTING="${UNSHIM_BOOTING:-}"

# -- journal, verdict, lock ------------------------------------------------------------------------

# note EVENT [STEP [DETAIL]]: one line, on disk before we go on. What cannot be announced must not
# happen, so this exits; the way back goes on even so.
note() {
    detail=${3:+$(printf '%s' "$3" | tr -c 'A-Za-z0-9 ._:/=,@+-' ' ' | tr -s ' ' | cut -c1-400)}
    # shellcheck disable=SC2046 # two numbers
    set -- "$1" "${2:-}" $(wc -lc <"$here/journal")
    printf '{"seq":%d,"at":%d,"event":"%s","step":"%s","detail":"%s"}\n' \
        "$3" "$(date +%s)" "$1" "$2" "$detail" >>"$here/journal" && sync "$here/journal" && return
    truncate -s "$4" "$here/journal" # half a line would spoil the next one
    echo "the journal of run $run cannot be written; is the disk full?" >&2
    [ -n "$going_back" ] || exit 1
}

has() { grep -q "\"event\":\"$1\"" "$here/journal"; }
last_event() { tail -n 1 "$here/journal" | sed 's/.*"event":"\([^"]*\)".*/\1/'; }
state_of() {
    sed -n "s/.*\"event\":\"\([^\"]*\)\",\"step\":\"$1\".*/\1/p" "$here/journal" | tail -n 1
}

# a torn last line (power went while it was written) is not part of the journal
mend_journal() {
    [ -f "$here/journal" ] || { : >"$here/journal" && sync "$here/journal" "$here"; }
    [ -s "$here/journal" ] || return 0
    [ "$(tail -c 1 "$here/journal" | od -An -tx1 | tr -d ' ')" != 0a ] || return 0
    truncate -s "$(head -n "$(wc -l <"$here/journal")" "$here/journal" | wc -c)" "$here/journal"
    sync "$here/journal"
}

verdict() { cat "$here/verdict" 2>/dev/null || :; }

# claim TEXT: create the verdict, or fail because it is there already
claim() {
    won=1
    if write "$here/verdict.$$" "$1" || { make_room && write "$here/verdict.$$" "$1"; }; then
        ln "$here/verdict.$$" "$here/verdict" 2>/dev/null && won=0
    fi
    rm -f "$here/verdict.$$"
    sync "$here"
    return $won
}

write() { printf '%s\n' "$2" >"$1" && sync "$1"; }

# the switch keeps a little room, so that a full disk cannot hold up the way back
keep_room() { head -c 1048576 /dev/zero >"$here/room" && sync "$here/room"; }
make_room() { rm "$here/room" 2>/dev/null; }

# lock SECONDS: one process for the whole node. Children inherit it on purpose, so that an orphaned
# step keeps others out
lock() {
    exec 9>"$base/lock"
    flock -w "$1" 9 || { echo "another process is at work on this node" >&2; exit 75; }
    mend_journal
}

# fence TOKEN: refuse an operator that is older than one we have seen. Under the lock
fence() {
    [ "$1" != local ] || return 0 # a person on the node itself, with no API server to ask
    case $1 in '' | *[!0-9]*) echo "bad token" >&2; exit 64 ;; esac
    seen=$(cat "$base/token" 2>/dev/null || echo 0)
    if [ "$1" -lt "$seen" ]; then
        echo "fencing token $1 is older than $seen" >&2
        exit 75
    fi
    [ "$1" -gt "$seen" ] || return 0
    put_line "$base/token" "$1" || exit 1
}

# put_line FILE TEXT: replace a one-line file of ours
put_line() { write "$1.new" "$2" && mv -T "$1.new" "$1" && sync "$base"; }

show() {
    echo "now $(date +%s)"
    echo "verdict $(verdict)"
    echo "meta $(base64 -w0 "$here/meta.json" 2>/dev/null)"
    echo "journal $(base64 -w0 "$here/journal" 2>/dev/null)"
}

verify_bundle() { (cd "$here" && sha256sum --quiet -c manifest >/dev/null 2>&1); }

