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

# wait SECONDS [STEP]: until the switch stands or falls, or STEP is done, or SECONDS have passed
verb_wait() {
    until=$(($(date +%s) + $1))
    while [ "$(date +%s)" -lt $until ]; do
        case $(last_event) in end | undo-failed) return 0 ;; esac
        [ "$(last_event)" != switched ] || [ -n "$(verdict)" ] || return 0
        [ -z "${2:-}" ] || [ "$(state_of "$2")" != "done" ] || return 0
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
