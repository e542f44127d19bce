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

# -- steps -----------------------------------------------------------------------------------------

# part STEP NAME LIMIT: run one script of a step; its last words go to $said
part() {
    # shellcheck disable=SC2016  # the inner shell expands them
    timeout -k 5 "$3" sh -eu -c '. "$1"; . "$2"' sh "$here/env" "$here/steps/$1/$2" \
        >"$here/said" 2>&1 </dev/null # a file: a pipe would wait for what the step left running
    code=$?
    said=$(tail -n 5 "$here/said" | tail -c 400)
    [ $code != 124 ] || said="no answer within $3 s. $said"
    return $code
}

fail() {
    note failed "$1" "$2"
    return 1
}

# apply STEP KIND LIMIT
apply() {
    [ "$(state_of "$1")" != "done" ] || return 0
    case $2 in
    file) apply_files "$1" ;;
    script) apply_script "$1" "$3" ;;
    esac
}

apply_script() {
    doubt=$(state_of "$1")
    if [ -f "$here/steps/$1/check" ]; then
        part "$1" check "$2"
        case $? in
        0)
            # a step that we began ourselves is ours to undo
            if [ "$doubt" = started ]; then note "done" "$1"; else note skipped "$1"; fi
            return 0
            ;;
        1) ;;
        *)
            fail "$1" "cannot tell whether it is so already: $said"
            return 1
            ;;
        esac
    fi
    note started "$1"
    part "$1" apply "$2" || { fail "$1" "exit code $code: $said"; return 1; }
    for proof in verify check; do
        [ -f "$here/steps/$1/$proof" ] || continue
        part "$1" $proof "$2" || { fail "$1" "$proof: exit code $code: $said"; return 1; }
        break
    done
    note "done" "$1"
}

sum() { if [ -e "$1" ]; then sha256sum <"$1" | cut -d' ' -f1; else echo absent; fi; }

apply_files() {
    [ -s "$here/steps/$1/files" ] || { note skipped "$1"; return 0; }
    note started "$1"
    while read -r index mode before after path <&4; do
        path=$root$path
        now=$(sum "$path")
        [ "$now" != "$after" ] || continue
        [ "$now" = "$before" ] || { fail "$1" "$path has changed since it was planned"; return 1; }
        put "$here/steps/$1/new.$index" "$path" "$mode" "$after" || { fail "$1" "writing $path"; return 1; }
    done 4<"$here/steps/$1/files"
    note "done" "$1"
}

# put SOURCE TARGET MODE SUM: replace a file in one rename, keeping its mode and owner
put() {
    folder=$(dirname "$2")
    if [ "$4" = absent ]; then
        rm -f "$2" && sync "$folder"
        return
    fi
    mkdir -p "$folder" && cp "$1" "$2.unshim-new" || return 1
    if [ -e "$2" ]; then
        chown --reference="$2" "$2.unshim-new" && chmod --reference="$2" "$2.unshim-new" &&
            { [ ! -d /sys/fs/selinux ] || chcon --reference="$2" "$2.unshim-new" || :; }
    else
        chown 0:0 "$2.unshim-new" && chmod "$3" "$2.unshim-new"
    fi || return 1
    sync "$2.unshim-new" && mv -T "$2.unshim-new" "$2" && sync "$folder"
}

undo_files() {
    while read -r index mode before after path <&4; do
        path=$root$path
        kept=$here/backup/$1.$index
        rm -f "$path.unshim-new"
        case $(sum "$path") in # somebody else's edit since then is kept beside the backup
        "$before" | "$after" | absent) ;;
        *) cp -a "$path" "$kept.found" && sync "$kept.found" ;;
        esac
        if [ -e "$kept.absent" ]; then
            rm -f "$path"
            while read -r folder <&5; do rmdir "$folder" 2>/dev/null || :; done 5<"$kept.absent"
        else
            cp -a "$kept" "$path.unshim-new" && { [ -L "$kept" ] || sync "$path.unshim-new"; } &&
                mv -T "$path.unshim-new" "$path" || return 1
        fi
        [ ! -d "$(dirname "$path")" ] || sync "$(dirname "$path")"
        [ "$(sum "$path")" = "$before" ] || return 1
    done 4<"$here/steps/$1/files"
}

# undo STEP KIND LIMIT: only what this run began; a skipped step was so before us
undo() {
    case $(state_of "$1") in started | done | failed | undo-failed) ;; *) return 0 ;; esac
    said=
    case $2 in
    file) undo_files "$1" || said="restoring its files" ;;
    script)
        [ -f "$here/steps/$1/undo" ] || return 0
        part "$1" undo "$3" || said="exit code $code: $said"
        ;;
    esac
    if [ -n "$said" ] && { [ "$2" = file ] || [ "${code:-0}" != 0 ]; }; then
        note undo-failed "$1" "$said"
        return 1
    fi
    note undone "$1"
}

# -- before the switch: backups, recovery unit, dead-man ---------------------------------------------

# keep_files STEP: back every file up, or say that it was not there, with the folders we shall make
keep_files() {
    while read -r index mode before after path <&4; do
        path=$root$path
        kept=$here/backup/$1.$index
        [ "$(sum "$path")" = "$before" ] || { fail backup "$path has changed since it was planned"; return 1; }
        if [ -e "$kept" ] || [ -L "$kept" ] || [ -e "$kept.absent" ]; then continue; fi # the oldest backup wins
        if [ "$before" = absent ]; then
            missing_folders "$(dirname "$path")" >"$kept.new" && sync "$kept.new" && mv "$kept.new" "$kept.absent"
        else
            rm -f "$kept.new"
            cp -a "$path" "$kept.new" && mv "$kept.new" "$kept"
            [ -L "$kept" ] || { sync "$kept" && [ "$(sum "$kept")" = "$before" ]; }
        fi || { fail backup "$path cannot be backed up"; return 1; }
    done 4<"$here/steps/$1/files"
}

# folders that do not exist yet, the deepest first: the order in which undo removes them
missing_folders() {
    missing=$1
    while [ ! -d "$missing" ]; do
        echo "$missing"
        missing=$(dirname "$missing")
    done
}

keep_all() {
    mkdir -p "$here/backup"
    while read -r stage step kind limit <&3; do
        [ "$stage $kind" != "switch file" ] || keep_files "$step" || return 1
    done 3<"$here/order"
    sync "$here/backup" "$here"
}

# the unit that rolls back when the node boots in the middle of a switch
arm_recovery() {
    cat >"$units/$recover_unit.new" <<UNIT
[Unit]
Description=unshim: bring an unfinished migration of this node back
DefaultDependencies=no
After=local-fs.target
Before=containerd.service docker.socket docker.service cri-docker.socket cri-docker.service kubelet.service

[Service]
Type=oneshot
ExecStart=/bin/sh $here/runner.sh recover

[Install]
WantedBy=multi-user.target
UNIT
    sync "$units/$recover_unit.new" && mv "$units/$recover_unit.new" "$units/$recover_unit" &&
        systemctl daemon-reload && systemctl enable -q "$recover_unit" &&
        sync "$units" "$units/multi-user.target.wants"
}

# transient UNIT OPTIONS ARGUMENT...: hand a command to systemd; an old one may not know OPTIONS
transient() {
    name=$1 options=$2
    shift 2
    # shellcheck disable=SC2086 # a list of words
    systemd-run --unit="$name" --collect $options "$@" || systemd-run --unit="$name" "$@"
}

disarm() {
    systemctl stop "unshim-deadman-$run.timer" 2>/dev/null || :
    if [ -e "$units/$recover_unit" ]; then
        systemctl disable -q "$recover_unit" 2>/dev/null || :
        rm -f "$units/$recover_unit"
        sync "$units"
        systemctl daemon-reload || :
    fi
    rm -f "$base/current" "$here/room" "$here/said" "$here"/verdict.[0-9]* "$units/$recover_unit.new"
    sync "$base"
}

# -- verbs -----------------------------------------------------------------------------------------

refuse_other() {
    other=$(cat "$base/current" 2>/dev/null || :)
    if [ -n "$other" ] && [ "$other" != "$run" ] && [ -e "$base/$other/journal" ] &&
        ! tail -n 1 "$base/$other/journal" | grep -q '"event":"end"'; then
        echo "run $other is unfinished on this node" >&2
        exit 76
    fi
}

verb_stage() {
    lock 0
    fence "$1"
    refuse_other
    [ -z "$(verdict)" ] && ! has staged || return 0
    put_line "$base/current" "$run" || exit 1
    has begin || note begin
    verify_bundle || { fail bundle "its checksums do not hold"; return 1; }
    each stage || return 1
    note staged
}

# each STAGE: apply its steps in order; stop when a verdict appears
each() {
    while read -r stage step kind limit <&3; do
        [ "$stage" = "$1" ] || continue
        [ -z "$(verdict)" ] || return 1
        apply "$step" "$kind" "$limit" || return 1
    done 3<"$here/order"
}

verb_switch() {
    case $2 in '' | *[!0-9]*) exit 64 ;; esac
    lock 0
    fence "$1"
    [ -z "$(verdict)" ] && has staged && ! has armed || return 0
    verify_bundle || { fail bundle "its checksums do not hold"; return 1; }
    keep_all || return 1
    keep_room || { fail arm "there is no room on the disk"; return 1; }
    arm_recovery || { fail arm "the recovery unit"; return 1; }
    # one that an attempt before us left ticking serves as well
    systemctl is-active -q "unshim-deadman-$run.timer" ||
        transient "unshim-deadman-$run" --timer-property=AccuracySec=1s --on-active="$2" \
            /bin/sh "$here/runner.sh" rollback DeadMan || { fail arm "the dead-man timer"; return 1; }
    note armed "" "dead-man in $2 s"
    exec 9>&-
    transient "unshim-switch-$run" --property=TimeoutStopSec=5 /bin/sh "$here/runner.sh" run ||
        verb_rollback SwitchNotStarted
}

verb_run() {
    lock 10
    has armed && ! has switched || exit 64
    if each switch; then
        [ -n "$(verdict)" ] || note switched
        return 0
    fi
    claim "rolled-back StepFailed" || :
    take_back StepFailed
}

verb_confirm() {
    lock 20
    fence "$1"
    has switched || exit 64
    claim confirmed || [ "$(verdict)" = confirmed ] || return 77
    settle_confirmed
}

settle_confirmed() {
    [ "$(last_event)" != end ] || return 0
    [ "$(last_event)" = confirmed ] || note confirmed
    disarm
    note end
}

# the caller may lose its connection at any moment, so systemd runs the undo
verb_rollback() {
    decided=$(verdict)
    if [ -z "$decided" ]; then
        claim "rolled-back $(printf '%s' "${1:-Asked}" | tr -cd 'A-Za-z0-9')" || :
        decided=$(verdict)
    fi
    [ "$decided" != confirmed ] || return 77
    unit=unshim-rollback-$run.service
    if ! systemctl is-active -q "$unit"; then
        systemctl reset-failed "$unit" 2>/dev/null # or its name stays taken
        transient "$unit" --property=Restart=on-abnormal /bin/sh "$here/runner.sh" undo ||
            systemctl is-active -q "$unit" || (verb_undo)
    fi
    until=$(($(date +%s) + 90))
    while systemctl is-active -q "$unit" && [ "$(date +%s)" -lt $until ]; do sleep 0.05; done
    [ "$(last_event)" = end ]
}

verb_undo() {
    case $(verdict) in rolled-back*) ;; *) exit 64 ;; esac
    # Whatever instant this hits is one that a power cut could have hit. Its processes are gone once
    # they let go of the lock; systemd may take long to notice (cgroup v1 in containers).
    systemctl kill -s KILL "unshim-switch-$run.service" 2>/dev/null || :
    lock 60
    why=$(verdict)
    take_back "${why#rolled-back }"
}

# take_back REASON: undo in reverse order; safe to run again after any crash
take_back() {
    [ "$(last_event)" != end ] || return 0
    going_back=1
    make_room
    if ! has rollback || has reopened; then note rollback "" "$1"; fi
    reversed=$(sed '1!G;h;$!d' "$here/order")
    while read -r stage step kind limit <&3; do
        undo "$step" "$kind" "$limit" || return 1
    done 3<<STEPS
$reversed
STEPS
    disarm
    note end
}

# at boot, before the kubelet and the runtimes: nothing of theirs runs yet
verb_recover() {
    # multi-user.target can be asked for again at any time; the node is up then, and the dead-man ticks
    case $(systemctl is-system-running 2>/dev/null) in running | degraded) return 0 ;; esac
    lock 10
    case $(verdict) in
    confirmed) settle_confirmed; return ;;
    '') has armed || return 0 ;;
    esac
    claim "rolled-back Rebooted" || :
    UNSHIM_BOOTING=1
    why=$(verdict)
    take_back "${why#rolled-back }"
}

# take a confirmed run back: the one case in which a verdict is replaced, in one rename
verb_reopen() {
    lock 20
    fence "$1"
    if [ "$(verdict)" = confirmed ]; then
        refuse_other
        [ "$(last_event)" = reopened ] || note reopened "" "$2"
        put_line "$base/current" "$run" && arm_recovery || exit 1
        ln -f "$here/verdict" "$here/verdict.reopened"
        write "$here/verdict.new" "rolled-back $(printf '%s' "$2" | tr -cd 'A-Za-z0-9')" &&
            mv -T "$here/verdict.new" "$here/verdict" && sync "$here" || exit 1
    fi
    exec 9>&-
    verb_rollback "$2"
}

# wait until the switch stands or falls, or until SECONDS have passed
verb_wait() {
    until=$(($(date +%s) + $1))
    while [ "$(date +%s)" -lt $until ]; do
        case $(last_event) in end | undo-failed) return 0 ;; esac
        [ "$(last_event)" != switched ] || [ -n "$(verdict)" ] || return 0
        sleep 0.05
    done
}

verb=${1:-}
[ $# -eq 0 ] || shift
outcome=0
case $verb in
stage) verb_stage "$@" || outcome=$? ;;
switch) verb_switch "$@" || outcome=$? ;;
run) verb_run || outcome=$? ;;
wait) verb_wait "$@" || outcome=$? ;;
confirm) verb_confirm "$@" || outcome=$? ;;
rollback) verb_rollback "$@" || outcome=$? ;;
undo) verb_undo || outcome=$? ;;
recover) verb_recover || outcome=$? ;;
reopen) verb_reopen "$@" || outcome=$? ;;
show) ;;
*)
    echo "usage: runner.sh stage|switch|wait|show|confirm|rollback|reopen" >&2
    exit 64
    ;;
esac
case $verb in run | undo | recover) ;; *) show ;; esac
exit $outcome
